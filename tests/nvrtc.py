"""NVIDIA's compiler on machines without a GPU: what it makes of a kernel, and what is wrong with that.

NVRTC is the library that CuPy calls, and it is given the options that CuPy gives it. What comes out runs nowhere here;
but it can be read: the registers that each kernel takes, and its instructions.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from cuda_on_cpu import kernels

CUPY_ADDS = ("-ftz=true", "--device-as-default-execution-space")
REGISTERS = 65536  # of a processor, on every GPU since 2012
STORED = re.compile(r"^\s*(?:@!?%p\d+\s+)?st\.global\.", re.MULTILINE)
INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)", re.MULTILINE)
REPORT = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                    r"(\d+) bytes spill loads\n.*?Used (\d+) registers", re.DOTALL)

# What of real arithmetic is the same in NumPy, bit for bit: .rn rounds once and is never joined to another operation;
# float32 without .ftz keeps subnormal numbers, which the question whether a number is a NaN never meets.
EXACT = re.compile(r"(mov|selp|(ld|st)\.\w+(\.\w+)*)\.f(32|64)|(mul|add)\.rn\.f(32|64)|setp\.(nan|num)\.ftz\.f32"
                   r"|setp\.\w+\.f64")
REAL = re.compile(r"\.(b?f16|f32|f64|ftz)")


class Kernel(NamedTuple):
    """What a thread of it takes, in registers and bytes; `text` is its PTX."""

    registers: int
    stack: int
    spilled: int
    text: str


class Made(NamedTuple):
    """What the compiler made of one source; `instructions` are those of all of it, also of functions it calls."""

    kernels: dict[str, Kernel]
    warnings: tuple[str, ...]
    instructions: frozenset[str]


@cache
def made(source: str, options: tuple[str, ...], architecture: int) -> Made:
    """Compile for a GPU of compute capability `architecture` / 10. More than 48 KiB of shared memory is an error."""
    ptx, log = _compiled(source, (*options, *CUPY_ADDS, f"-arch=sm_{architecture}", "--ptxas-options=-v"))
    texts = {entry.partition("(")[0]: entry for entry in re.split(r"\.visible \.entry ", ptx)[1:]}
    found = {name: Kernel(int(registers), int(stack), int(stores) + int(loads), texts[name])
             for name, stack, stores, loads, registers in REPORT.findall(log)}
    warnings = tuple(line.strip() for line in log.splitlines() if "warning" in line.lower())
    return Made(found, warnings, frozenset(INSTRUCTION.findall(ptx)))


def faults(source: str, options: tuple[str, ...], architecture: int, threads: int) -> list[str]:
    """Say what is wrong with a source's kernels, launched in blocks of that many threads."""
    got, wrong = made(source, options, architecture), []
    if sorted(got.kernels) != sorted(kernels(source)):
        wrong.append(f"expected the kernels {kernels(source)}; got {list(got.kernels)}")
    wrong += got.warnings
    for name, kernel in got.kernels.items():
        if not STORED.search(kernel.text):
            wrong.append(f"{name} stores nothing")
        if kernel.spilled or kernel.stack:
            wrong.append(f"{name} spills {kernel.spilled} bytes, with {kernel.stack} of stack")
        granted = -(-kernel.registers // 8) * 8  # registers are given out in eights
        if granted * threads > REGISTERS:
            wrong.append(f"{name} takes {kernel.registers} registers in each of {threads} threads")
    return wrong


def inexact(source: str, options: tuple[str, ...], architecture: int) -> list[str]:
    """Name the instructions on real numbers that NumPy's operations have no equal to."""
    return sorted(i for i in made(source, options, architecture).instructions
                  if REAL.search(i) and not EXACT.fullmatch(i))


def _compiled(source: str, options: tuple[str, ...]) -> tuple[str, str]:
    from cuda.bindings import nvrtc

    def checked(answer: tuple[Any, ...]) -> Any:
        if answer[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(f"NVRTC: {answer[0]}")
        return answer[1] if len(answer) == 2 else None

    def text(size: Any, fill: Any) -> str:
        buffer = b" " * checked(size(program))
        checked(fill(program, buffer))
        return buffer.rstrip(b"\0").decode()

    program = checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        (result,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(f"NVRTC: {log}")
        return text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX), log
    finally:
        nvrtc.nvrtcDestroyProgram(program)
