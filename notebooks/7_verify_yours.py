# %% [markdown]
# # 7. A test that four faults pass, and what finds them
#
# An IndRNN in PyTorch, with a backward pass written by hand, passes the test that most implementations come with: a few
# steps, a loss that is the sum of the states, `allclose`. It has four faults all the same. `ir.oracle.verify` finds
# them; you will read its reports, mend one fault after the other, and see it pass. Then one case is looked at by hand,
# and the same numbers are used from plain Python, from the shell and from C++.
#
# It needs PyTorch (`pip install 'indrnn-np[notebooks]'`) and runs in about half a minute.

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import indrnn_np as ir

plt.style.use("book.mplstyle")
torch.set_num_threads(1)


# %% [markdown]
# ## The suspect
#
# The recurrence alone, $h_t = \max(0,\, a_t + u \odot h_{t-1})$, as a `torch.autograd.Function`. Its backward pass is
# Eq. 4 with a loss at every step: $dz_t = \sigma'(z_t)\,(dh_t + u \odot dz_{t+1})$ and
# $du = \sum_t dz_t \odot h_{t-1}$. **Before you read on:** there are two mistakes in it. Do you see them?

# %%
class First(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, u, h0):
        h, before = torch.empty_like(a), h0
        for t in range(len(a)):
            h[t] = before = torch.relu(a[t] + u * before)
        ctx.save_for_backward(h, u, h0)
        return h

    @staticmethod
    def backward(ctx, dh):
        h, u, h0 = ctx.saved_tensors
        T = len(h)
        dz, carry = torch.empty_like(h), torch.zeros_like(h0)
        for step in range(T):
            t = T - 1 - step
            dz[t] = torch.where(h[t] > 0, dh[step] + carry, 0)
            carry = u * dz[t]
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        return dz, (dz * before).sum((0, 1)), carry


def layer_of(recurrence):
    return lambda x, W, u, b, h0: recurrence.apply(x @ W.T + b, u, h0)


# %% [markdown]
# ## The test that it passes
#
# A loop that PyTorch differentiates by itself, and all six tensors compared with it.

# %%
def plain(x, W, u, b, h0):
    states = [h0]
    for x_t in x:
        states.append(torch.relu(x_t @ W.T + b + u * states[-1]))
    return torch.stack(states[1:])


def state_and_gradients(layer, tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    h = layer(*leaves)
    return [h, *torch.autograd.grad(h.sum(), leaves)]            # the cotangent of a sum: ones


def passes_the_usual_test(layer):
    torch.manual_seed(0)
    T, B, M, N = 5, 2, 3, 4
    tensors = torch.randn(T, B, M), torch.randn(N, M), torch.rand(N), torch.zeros(N), torch.zeros(B, N)
    pairs = zip(state_and_gradients(layer, tensors), state_and_gradients(plain, tensors), strict=True)
    return all(torch.allclose(got, want, rtol=1e-3, atol=1e-3) for got, want in pairs)


assert passes_the_usual_test(layer_of(First))
print("passed")

# %% [markdown]
# ## The oracle disagrees
#
# `verify` wants a candidate: a function of NumPy arrays that returns `h`, `dx`, `dW`, `du`, `db`, `dh0`. `from_torch`
# makes one of a forward pass, and the gradients are what `backward` returns: here the one written by hand. The
# candidate is run on named cases: long, short, fading, exploding, with every $z$ on the kink, …, each with random
# cotangents that differ at every step.

# %%
def candidate(recurrence):
    layer = layer_of(recurrence)
    return ir.oracle.from_torch(lambda x, W, u, b, h0, activation: layer(x, W, u, b, h0))


def show(report):
    print(str(report).splitlines()[0])
    for line, _ in report.summary():
        print("-", line)


report = ir.oracle.verify(candidate(First), activations=("relu",), dtypes=("float32",))
show(report)
assert {finding.name for finding in report.findings} == {"dx", "dW", "du", "db", "dh0"}      # and not h

# %% [markdown]
# ## How to read it
#
# There is a line for each tensor that is wrong, and `h` has none: forward is right. A line speaks of the first case in
# which the tensor is wrong: the element that is off by most there (in units of what is allowed; in a later case another
# may be off by more), what came, what is right, and how far from it rounding could have carried a right implementation.
# Then the case, and *against what* it was compared; "more like it" counts the rest. A `Finding` has the same as
# attributes:

# %%
finding = next(finding for finding in report.findings if finding.name == "dx")
for name in ("verdict", "case", "name", "index", "got", "want", "allowed", "diagnosis"):
    print(f"{name:<10}{getattr(finding, name)}")

# %% [markdown]
# The diagnosis names the fault: the loop reads `dh[step]`, that is, the cotangents in the wrong order. With a cotangent
# of ones, every order is the right one. This is why the usual test saw nothing, at any tolerance.
#
# `du` has no diagnosis. The oracle tries known mistakes one at a time, and nothing known gives these numbers: perhaps
# because `du` has two. Where nothing fits, nothing is said. So mend what is known, and ask again; one case is enough
# now, and the report has the line to paste (`report.reproduce(finding)`).

# %%
class Second(First):
    @staticmethod
    def backward(ctx, dh):
        h, u, h0 = ctx.saved_tensors
        dz, carry = torch.empty_like(h), torch.zeros_like(h0)
        for t in reversed(range(len(h))):
            dz[t] = torch.where(h[t] > 0, dh[t] + carry, 0)
            carry = u * dz[t]
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        return dz, (dz * before).sum((0, 1)), carry


print(report.reproduce(finding), "\n")
report = ir.oracle.verify(candidate(Second), activations=("relu",), dtypes=("float32",), case="small")
show(report)
assert {finding.name for finding in report.findings} == {"du"}

# %% [markdown]
# The second fault was hidden behind the first: the state before step 1 is `h0`, and not zero. The usual test starts
# from zero, so it cannot know.

# %%
class Mended(Second):
    @staticmethod
    def backward(ctx, dh):
        h, _, h0 = ctx.saved_tensors
        dz, _, dh0 = Second.backward(ctx, dh)
        before = torch.cat([h0[None], h[:-1]])
        return dz, (dz * before).sum((0, 1)), dh0


show(ir.oracle.verify(candidate(Mended), activations=("relu",), dtypes=("float32",), case="small"))

# %% [markdown]
# ## Two more, around it
#
# A module with this recurrence inside. To keep the gradient from exploding it clamps $u$; and it runs in pieces of 16
# steps, each of which starts from the last state of the one before.

# %%
class IndRNN(torch.nn.Module):
    def __init__(self, M, N):
        super().__init__()
        self.W = torch.nn.Parameter(torch.randn(N, M) / M**0.5)
        self.u = torch.nn.Parameter(torch.rand(N))
        self.b = torch.nn.Parameter(torch.zeros(N))

    def weight(self):
        return self.u.clamp(-1, 1)

    def carried(self, h):
        return h[-1].detach()

    def forward(self, x, h0):
        pieces = []
        for a in (x @ self.W.T + self.b).split(16):
            pieces.append(Mended.apply(a, self.weight(), h0))
            h0 = self.carried(pieces[-1])
        return torch.cat(pieces)


def as_function(x, W, u, b, h0):
    return torch.func.functional_call(IndRNN(3, 4), {"W": W, "u": u, "b": b}, (x, h0))


assert passes_the_usual_test(as_function)
print("passed")

# %% [markdown]
# Of course it passes: there is no $|u| > 1$ in the test, and no 17th step. `from_torch_module` makes a candidate of a
# module that holds its weights. It builds one for the sizes of each case, and knows the names of several
# implementations, and these.

# %%
def module(build):
    return ir.oracle.from_torch_module(lambda M, N, activation: build(M, N))


report = ir.oracle.verify(module(IndRNN), activations=("relu",), dtypes=("float32",))
show(report)
clamped = next(finding for finding in report.findings if finding.name == "du")
assert clamped.got == 0 != clamped.want

# %% [markdown]
# ## Forward first
#
# Now `h` is wrong, and the diagnosis says why. Read the place, too: the fault is in certain neurons alone, from the
# first step on. While `h` is wrong the gradients are judged on the `h` that came, so that a right backward pass would
# not be blamed; this one clamps as well. See what came for `du` in the neuron whose $|u|$ is beyond the limit: 0. In
# training such a $u$ never comes back ([notebook 3](3_what_the_bound_does_not_bound.ipynb)).
#
# The remedy is to leave $u$ alone in the graph and to project it *after* each step of the optimiser.

# %%
class Projected(IndRNN):
    def weight(self):
        return self.u

    @torch.no_grad()
    def project(self):                                           # call it after optimiser.step()
        self.u.clamp_(-1, 1)


report = ir.oracle.verify(module(Projected), activations=("relu",), dtypes=("float32",), case="near-one")
show(report)
assert "h" not in {finding.name for finding in report.findings}

# %% [markdown]
# The last fault is in the handling of the state: `detach` cuts the gradient wherever one piece hands over to the next.
# Forward is right; backward is truncated every 16 steps. The usual test has 5.
#
# A diagnosis is a mistake that predicts these numbers, on every case that was run. One case can fit several, which are
# then all named; the more cases, the fewer causes.

# %% tags=["varies"]
class Right(Projected):
    def carried(self, h):
        return h[-1]


report = ir.oracle.verify(module(Right), activations=("relu",))  # all cases, float32 and float64
print("\n".join(str(report).splitlines()[:22]))
assert report.passed

# %% [markdown]
# **It passes**, in both precisions, on every case. The numbers are errors in units of what is allowed: at most 1 is
# right. The exact vectors allow nothing at all. Their numbers are small multiples of powers of two, so that nothing in
# them is ever rounded; they are met in every bit.
#
# **Predict:** derive a class from `Right` whose `weight` returns `self.u.abs()`. Which cases will *not* see it?

# %%
class Absolute(Right):
    def weight(self):
        return self.u.abs()


report = ir.oracle.verify(module(Absolute), activations=("relu",), dtypes=("float32",))
show(report)
cases = {case.id: case for case in ir.oracle.cases(("relu",), dtypes=("float32",))}
blind = [name for name in cases if name not in {finding.case for finding in report.findings}]
print(f"\n{len(cases) - len(blind)} of {len(cases)} cases see it; {len(blind)} do not:")
for name in blind:
    case = cases[name]
    states = np.array([case.h0, *ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation).h])
    print(f"  {name:22} {(case.u < 0).sum()} of {case.u.size} u negative, {np.count_nonzero(states)} states not 0")
    assert (case.u >= 0).all() or not np.any(states), f"{name}: has a negative u and states, and yet sees nothing"
at_zero = [finding for finding in report.findings if finding.case == "zero-u"]
assert [(finding.name, finding.got) for finding in at_zero] == [("du", 0)], "zero-u: so it is for abs, not for others"

# %% [markdown]
# Where no $u$ is negative there is nothing to see (`zero-u` sees it all the same: at 0, PyTorch's `abs` has slope 0).
# And `on-the-kink` has negative weights, but every state is 0 there, so that $u$ multiplies zeros alone.
#
# See the diagnoses, too. One cause gets two names, one for `h` and one for the gradients that are carried, and `du` and
# `dh0` get none. The diagnosis explains each tensor by itself (gradients on the `h` that came), and where no known
# mistake fits its numbers it stays silent. So read all lines together, and look for one cause behind them.
#
# ## Where a fault begins
#
# The conformance vectors are cases as plain JSON, with the error that is allowed to each element. `write_vectors` puts
# them into a folder, for any language; `read_vectors` reads them, and checks that nothing in them was changed.

# %%
room = tempfile.TemporaryDirectory()                             # emptied in the last cell
folder = Path(room.name)
ir.oracle.write_vectors(folder)
vectors = {vector.id: vector for vector in ir.oracle.read_vectors(folder)}
long = vectors["relu-long"]                                      # 80 steps, |u| near 1


def error_of_dx(build):
    case = long.case("float32")
    got = module(build)(**case.arguments(), activation=case.activation)["dx"]
    return np.abs(got - long.results["dx"]).max((1, 2))


wrong, right = error_of_dx(Projected), error_of_dx(Right)
allowed = long.allowed["float32"]["dx"].max((1, 2))
print("last step of dx that is wrong:", np.flatnonzero(wrong > allowed).max() + 1)

# %% picture="oracle.png"
figure, axes = plt.subplots()
t = np.arange(1, len(wrong) + 1)
tiny = 1e-10                                                     # so that an error of exactly 0 has a place
axes.semilogy(t, np.maximum(wrong, tiny), label="gradient cut every 16 steps")
axes.semilogy(t, np.maximum(right, tiny), label="mended")
axes.semilogy(t, allowed, color="0.5", label="allowed error")
for edge in (16, 32, 48, 64):
    axes.axvline(edge + 0.5, color="0.8", linewidth=1, linestyle="-")
axes.set(xlabel="step t (backward reads from right to left)", ylabel="largest |got − want| of $dx_t$",
         title="Right until backward meets the first cut, at t = 64")
axes.set_ylim(bottom=1e-12)
axes.legend(loc="lower left")
plt.show()

# %% [markdown]
# A report says the same in words, "first at […] walking backward in time". A rule for reading it: a fault in backward
# is visible at its *latest* wrong step, one in forward at its *earliest*.
#
# ## One case by hand
#
# `cases` lists what `verify` runs, and `assert_matches` raises where a candidate is wrong in one. Together they are a
# test of your own: with pytest, `@pytest.mark.parametrize("case", ir.oracle.cases(("relu",)), ids=str)`.

# %%
cases = ir.oracle.cases(("relu",), dtypes=("float32",))
case = next(case for case in cases if case.id == "small")
print(len(cases), "cases; this one:", case)
print({name: array.shape for name, array in case.arguments().items()})
print("u  =", case.u)
print("dh =", case.dh[:3, 0, 0], "… differs at every step")

ir.oracle.assert_matches(candidate(Mended), case)
try:
    ir.oracle.assert_matches(candidate(Second), case)
except AssertionError as error:
    print("\n" + next(line for line in str(error).splitlines() if line.startswith("du[")))


# %% [markdown]
# ## Why the allowed error is computed
#
# A fixed tolerance must be wrong somewhere: too tight for 2000 steps, too loose for 5. Here are two implementations.
# One is right and adds up in another order, so its bits differ. The other rounds every state to float16, and `allclose`
# with the tolerance above calls it right too.

# %%
def other_order(x, W, u, b, h0):
    states = [h0]
    for x_t in x:                                                # the state first, the inputs one by one, from the last
        z = u * states[-1] + b
        for m in reversed(range(x.shape[2])):
            z = z + x_t[:, m:m + 1] * W[:, m]
        states.append(torch.relu(z))
    return torch.stack(states[1:])


def half_in_the_middle(x, W, u, b, h0):
    states = [h0]
    for x_t in x:
        states.append(torch.relu(x_t @ W.T + b + u * states[-1]).half().to(x.dtype))
    return torch.stack(states[1:])


assert passes_the_usual_test(other_order)
print("float16 in the middle passes the usual test:", passes_the_usual_test(half_in_the_middle))

# %% tags=["varies"]
def verdict(layer, case):
    yours = ir.oracle.from_torch(lambda x, W, u, b, h0, activation: layer(x, W, u, b, h0))
    return ir.oracle.verify(yours, activations=("relu",), dtypes=("float32",), case=case)


for name in ("near-one", "wide", "small"):
    one, other = verdict(other_order, name), verdict(half_in_the_middle, name)
    print(f"{name:<9} other order: {one.worst('specification').ratio:.2f} of what is allowed;  "
          f"float16: {other.worst('specification').ratio:.0f} times what is allowed")
    assert one.passed
    assert not other.passed
show(other)
assert {finding.verdict for finding in other.findings} == {"imprecise"}

# %% [markdown]
# The verdict on this case is not *wrong* but *imprecise*: the right function in too low a precision. The allowed error
# follows from the rounding of each operation, carried through the recurrence element by element, whatever the order of
# summation. So the first is never accused, however its sums are arranged, and the second does not pass.

# %%
def error_of_h(layer):
    tensors = [torch.from_numpy(long.arguments[name].astype("float32")) for name in ("x", "W", "u", "b", "h0")]
    return np.abs(layer(*tensors).numpy() - long.results["h"]).max((1, 2))


allowed = long.allowed["float32"]["h"].max((1, 2))
assert (error_of_h(other_order) < allowed).all()
assert (error_of_h(half_in_the_middle) > allowed).all()


figure, axes = plt.subplots()
axes.semilogy(t, np.maximum(error_of_h(half_in_the_middle), tiny), label="float16 in the middle")
axes.semilogy(t, np.maximum(error_of_h(other_order), tiny), label="float32, another order")
axes.semilogy(t, allowed, color="0.5", label="allowed error")
axes.set(xlabel="step t", ylabel="largest |got − want| of $h_t$",
         title="The allowed error lies between the two at every step")
axes.set_ylim(bottom=1e-12)
axes.legend(loc="lower left")
plt.show()

# %% [markdown]
# ## From another language
#
# The folder above has a `manifest.json`, which says what the numbers mean and what each flag is there to show. A case
# is flat lists of numbers.

# %%
manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
print({name: about["cases"] for name, about in manifest["files"].items()})
print(manifest["conventions"]["equation"])
print("kink:", manifest["flags"]["kink"], "\n")
listed = {each["id"]: each for each in json.loads((folder / "exact.json").read_text("utf-8"))["cases"]}
print(json.dumps(listed["exact-relu-one"]))


# %% [markdown]
# An IndRNN in Python's own lists, with no library at all, against an exact case. Nothing is allowed, so `==` is the
# whole comparison.

# %%
def listed_indrnn(c):
    T, B, M, N = (c[letter] for letter in "TBMN")
    h, du, dh0 = [0.0] * (T * B * N), [0.0] * N, [0.0] * (B * N)
    for i in range(B * N):                                       # one neuron of one sequence, which sees no other
        s, n = divmod(i, N)
        before = [c["h0"][i]] + [0.0] * T
        for t in range(T):
            drive = sum(c["W"][n * M + m] * c["x"][(t * B + s) * M + m] for m in range(M))
            h[t * B * N + i] = before[t + 1] = max(0.0, drive + c["b"][n] + c["u"][n] * before[t])
        for t in reversed(range(T)):
            dz = c["dh"][t * B * N + i] + dh0[i] if before[t + 1] > 0 else 0.0
            du[n] += dz * before[t]
            dh0[i] = c["u"][n] * dz
    return {"h": h, "du": du, "dh0": dh0}


exact_relu = [c for c in listed.values() if c["activation"] == "relu"]
for c in exact_relu:
    assert all(got == c[name] for name, got in listed_indrnn(c).items())
print(len(exact_relu), "cases, equal in every bit")

# %% [markdown]
# [`tests/consumer.cpp`](../tests/consumer.cpp) is the same in C++, compiled, with all activations and the allowed
# errors: start from it for another language. From the shell, `indrnn-np vectors FOLDER` writes the folder.
#
# ## From the shell
#
# `indrnn-np verify FILE.py:FUNCTION` does all this in a process of its own, where a crash or an endless loop is a
# finding and not the end. Below it is `python -m indrnn_np`, which is the same. First
# [an example that is right](../tests/examples/torch_autograd_function.py), then the same file with `h` for $h_{t-1}$.

# %% tags=["varies"]
def shell(folder):
    command = [sys.executable, "-m", "indrnn_np", "verify", "yours.py:candidate", "--case", "small",
               "--dtype", "float32"]
    plain_text = os.environ | {"FORCE_COLOR": "", "NO_COLOR": "1", "COLUMNS": "100"}
    ran = subprocess.run(command, cwd=folder, env=plain_text, capture_output=True, text=True, check=False)
    print(ran.stdout.strip(), "\nexit code", ran.returncode, "\n")
    return ran.returncode


text = Path("../tests/examples/torch_autograd_function.py").read_text("utf-8")
(folder / "yours.py").write_text(text, "utf-8")
assert shell(folder) == 0
(folder / "yours.py").write_text(text.replace("h_prev = torch.cat([h0[None], h[:-1]])", "h_prev = h"), "utf-8")
assert shell(folder) == 1

# %%
room.cleanup()

# %% [markdown]
# ## What was shown
#
# | the usual test | what passes it |
# |---|---|
# | a cotangent of ones | the cotangents in any order |
# | `h0` = 0 | a gradient that forgets `h0` |
# | no \|u\| above 1 | $u$ clamped in the graph |
# | 5 steps | a gradient that is cut every 16 |
# | a fixed tolerance | float16 in the middle |
#
# - Each was found and, once it was alone, named. Mend forward first, then what has a diagnosis, and ask again.
#   [`verify`](../indrnn_np/oracle/verification.py); [`test_diagnosis.py`](../tests/test_diagnosis.py),
#   `test_mistakes_in_two_tensors_are_named_side_by_side`; the known mistakes are in
#   [the catalogue](../indrnn_np/oracle/mistakes/README.md).
# - A right implementation is not accused, whatever its order of operations.
#   [`tolerance.py`](../indrnn_np/oracle/tolerance.py) states the theorem;
#   [`test_tolerance.py`](../tests/test_tolerance.py),
#   `test_no_right_implementation_is_accused_whatever_its_order_of_operations`.
# - One in too low a precision is called so. [`test_diagnosis.py`](../tests/test_diagnosis.py),
#   `test_the_right_function_in_a_lower_precision_is_called_imprecise`.
# - Another language can check itself. [`write_vectors`](../indrnn_np/oracle/vectors.py);
#   [`test_consumer.py`](../tests/test_consumer.py), `test_a_right_implementation_in_another_language_passes`.
#
# This was the last notebook. [Fifteen answers](answers.md) has what people ask about IndRNNs, each with what settles
# it.
