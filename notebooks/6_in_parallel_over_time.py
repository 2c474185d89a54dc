# %% [markdown]
# # 6. Steps that wait for each other can be composed side by side
#
# A recurrence looks sequential: step $t$ needs the state of step $t-1$. This notebook shows that backward never is, and
# that forward is not for ReLU; how far rounding then differs, as a proved bound beside the measured error; and how
# three short phases of a GPU kernel use it, rebuilt here in NumPy.
#
# It needs NumPy, matplotlib and the equations of backward (notebook 1), and runs in about ten seconds.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import indrnn_np as ir
from indrnn_np import analysis
from indrnn_np.analysis import Affine, Clamp
from indrnn_np.engines import cuda

plt.style.use("book.mplstyle")
rng = np.random.default_rng(0)

# %% [markdown]
# ## Backward: each step is a straight line in what it receives
#
# On the way back the slopes $\sigma'(z_t)$ are known from forward. So, for *every* activation,
#
# $$dz_t = \sigma'(z_t)\,(dh_t + u\, dz_{t+1}) = s_t\, dz_{t+1} + c_t,
# \qquad s_t = \sigma'(z_t)\, u, \quad c_t = \sigma'(z_t)\, dh_t$$
#
# One step is the map $g \mapsto s g + c$: two numbers. Two steps are again such a map, $f_2(f_1(g)) = s_2 s_1 g + (s_2
# c_1 + c_2)$: two numbers. And whether the first two of three are joined first, or the last two, is the same. Below
# that is checked on numbers that floating point handles exactly.

# %%
f1, f2, f3 = (Affine(*(np.array(v) for v in pair)) for pair in ((0.5, 3.0), (-2.0, 1.0), (0.25, -4.0)))
left, right = f3.after(f2).after(f1), f3.after(f2.after(f1))
print("f3 after f2 after f1:  s =", left.s, " c =", left.c)
assert left == right
assert left(8.0) == f3(f2(f1(8.0)))

# %% [markdown]
# That is all a *scan* needs. To have every prefix $f_t \circ \dots \circ f_1$, let each row take in the row 1 before
# it, then 2 before, then 4: after $\lceil\log_2 T\rceil$ rounds, in each of which all rows work at once, all are done.
#
# **Predict:** how many rounds for $T = 1000$?

# %%
def prefixes(s, c):
    """Compose every prefix of the maps g → s_t g + c_t; count the rounds."""
    width, rounds = 1, 0
    while width < len(s):
        joined = Affine(s[width:], c[width:]).after(Affine(s[:-width], c[:-width]))
        s, c = np.concatenate([s[:width], joined.s]), np.concatenate([c[:width], joined.c])
        width, rounds = 2 * width, rounds + 1
    return s, c, rounds


T, B, N = 1000, 4, 8
a, dh, h0 = rng.standard_normal((T, B, N)), rng.standard_normal((T, B, N)), rng.standard_normal((B, N))
u = rng.uniform(-1, 2 ** (1 / T), N)
h = ir.recurrent_forward(a, u, h0, activation="tanh")
z = a + u * np.concatenate([h0[None], h[:-1]])
slope = ir.ACTIVATIONS["tanh"].slope(z)
_, c, rounds = prefixes((slope * u)[::-1], (slope * dh)[::-1])   # time runs backward; dz_{T+1} = 0 leaves c alone
print(f"{rounds} rounds instead of {T} steps")

# %% [markdown]
# `analysis.scan_backward` is this function. Against the loop it differs by rounding and nothing else: each of the two
# stays within its derived bound of the exact $dz$, so they differ by at most the sum. (A loop, too, is an order of
# composing: the one in which an element passes up to $T - 1$ compositions.) Both take the slope as NumPy
# computes it, hence the engine by name; what it is off by is an argument of the bound, and no question of order.

# %% tags=["varies"]
scan = analysis.scan_backward(dh, h, a, u, h0, "tanh").da
loop = ir.recurrent_backward(dh, h, a, u, h0, activation="tanh", engine="numpy").da
allowed = analysis.scan_backward_error(dh, slope, u) + analysis.scan_backward_error(dh, slope, u, passed=np.arange(T))
print(f"same bits in {(scan == loop).mean():.0%}; largest difference {np.abs(scan - loop).max():.1e}, "
      f"at most {(np.abs(scan - loop) / allowed).max():.2f} of what is allowed")
assert (np.abs(scan - loop) <= allowed).all()
assert (np.abs(c[::-1] - scan) <= 2 * analysis.scan_backward_error(dh, slope, u)).all()

# %% [markdown]
# ## Forward: ReLU steps stay a line with two ends
#
# Forward the slopes are not known yet. But a step of ReLU, $h \mapsto \max(0, a_t + u h)$, belongs to the maps
#
# $$h \mapsto \min(hi, \max(lo,\ s h + c))$$
#
# and these are closed under composition: four numbers stand for any number of steps. For $u > 0$ the upper end stays at
# $\infty$ and one kink is left, $\max(lo, s h + c)$. For $u < 0$ the ends change places at each step, so both appear.
#
# **Predict:** below are 1, 2, 4 and 8 steps, each with its own random drive. How many kinks has the map of 8 steps?

# %%
def run(drive, u):
    """Compose the steps of a ReLU neuron into one map, the first drive first."""
    made = Clamp(*(np.array(v) for v in (1.0, 0.0, -np.inf, np.inf)))
    for a_t in drive:
        made = Clamp(np.array(u), a_t, np.array(0.0), np.array(np.inf)).after(made)
    return made


h = np.linspace(-5, 5, 1001)
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, weight, (low, high) in zip(axes, (0.9, -0.9), ((-0.5, 1), (1, 3)), strict=True):
    drive = np.random.default_rng(3).uniform(low, high, 8)
    for steps in (1, 2, 4, 8):
        made = run(drive[:steps], weight)
        ax.plot(h, made(h), label=f"{steps}: lo {made.lo:.2f}, hi {made.hi:.2f}")
    ax.set(xlabel="state before, h", title="u = 0.9: one kink" if weight > 0 else "u = −0.9: two kinks at most")
    ax.legend(title="steps", fontsize=9, loc="upper left" if weight > 0 else "upper right", handlelength=2.6)
axes[0].set(ylabel="state after the steps", ylim=(-0.3, 8))
plt.show()

# %% [markdown]
# What does not close: a *leaky* ReLU bends the map once more at every step, so $n$ steps can have $n + 1$ pieces and no
# fixed number of parameters serves. A drive that attains it puts the kink of step $k$ at $h = k$. Tanh has no such form
# at all. Their forward pass remains a loop; their backward pass, above, is a scan all the same.

# %%
def leaky(drive, h):
    """Run a neuron with u = 1 and slope ½ below zero from each state of h at once."""
    shape = (len(drive), 1, len(h))
    rows = np.broadcast_to(np.array(drive)[:, None, None], shape)
    return ir.recurrent_forward(rows, np.ones(len(h)), h[None], activation="leaky_relu(0.5)")[-1, 0]


drive = []
for kink in range(1, 7):                                         # the map so far has the value −a at h = kink
    here = np.array([float(kink)])
    drive.append(-(leaky(drive, here)[0] if drive else here[0]))
whole = np.arange(8.0)                                           # pieces lie between neighbours; all is dyadic
slopes = np.diff(leaky(drive, whole))
print("slopes of six leaky steps, from left to right:", slopes)
assert len(set(slopes)) == 6 + 1

# %% [markdown]
# ## Rounding: a scan errs otherwise than a loop, not always more
#
# A loop rounds $u h_{t-1}$ and $z_t$ relative to their own size, *after* ReLU has cut off what was below zero. A scan
# adds up terms that may cancel or be cut off only later, and rounds relative to them: to $H_t = |u| H_{t-1} + |a_t|$.
# In exchange each term passes about $\log_2 T$ additions, not $T$. The theorem (`scan_rounding.py`) says, for every
# element,
#
# $$|\hat h_t - h_t| \le \Delta_t + (\rho^{m_t} - 1)(H_t + \Delta_t) + \text{underflow}, \qquad m_t =
# \lceil\log_2 t\rceil + 1$$
#
# with $\rho - 1$ about one rounding and $\Delta_t$ what the products $u^n$ lose (little: they are kept in float64).
#
# **Predict:** which is more exact in float32 for 10 000 positive drives, scan or loop? And where $h_0 = 1000$ is undone
# at the first step by $a_1 \approx -1000$, and only small drives follow?

# %%
lengths = [10, 30, 100, 300, 1000, 3000, 10_000]
one = np.ones(100, np.float32)                                   # 100 neurons with u = 1
cases = {"drives in (0, 1): the scan is nearer": (0, 1), "1000 undone at once: the loop is nearer": (1000, 0.001)}
found = {}
for name, (start, high) in cases.items():
    rows = []
    for steps in lengths:
        a, h0 = rng.uniform(0, high, (steps, 1, 100)).astype(np.float32), np.full((1, 100), start, np.float32)
        a[0] -= start
        wide = (a.astype(float), one.astype(float), h0.astype(float))
        exact = ir.recurrent_forward(*wide)
        off = analysis.scan_forward_error(*wide, passed=np.arange(steps))  # how far `exact` may be off itself
        bound = analysis.scan_forward_error(a, one, h0)
        by_scan = np.abs(analysis.scan_forward(a, one, h0) - exact)
        by_loop = np.abs(ir.recurrence.forward(a, one, h0, "relu") - exact)
        assert (by_scan <= bound + off).all()
        rows.append([np.sqrt((e[-1] ** 2).mean()) for e in (by_scan, by_loop)] + [float(bound[-1].max())])
    found[name] = np.array(rows).T

# %%
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, (name, lines) in zip(axes, found.items(), strict=True):
    for errors, label in zip(lines, ("scan", "loop", "scan, bound"), strict=True):
        ax.loglog(lengths, errors, label=label)
    ax.set(xlabel="length T (steps)")
    ax.set_title(name, fontsize=10.5)
axes[0].set_ylabel("error of $h_T$, float32")
axes[0].legend(loc="upper left")
(scan1, loop1, _), (scan2, loop2, _) = found.values()
assert scan1[-1] < loop1[-1]
assert (scan2 > loop2).all()
plt.show()

# %% [markdown]
# (Errors are root mean squares over 100 neurons; the assertion of the bound holds for every element at every step.) On
# the left the loop ends *beyond* the scan's bound: each order has its own, and neither serves for the other. On the
# right a checker that allows only the loop's error would accuse a right scan; hence `verify(f, order="scan")`.
#
# ## Depth against work
#
# The scan of $\lceil\log_2 T\rceil$ rounds is shallow and wasteful: it composes $T \log_2 T$ times where the loop steps
# $T$ times. Cut time into *slices* instead, and three phases do:
#
# 1. every slice composes its own steps into one map, all slices at once;
# 2. from slice to slice, the state is passed through those maps: now each slice knows the state that enters it;
# 3. every slice runs its steps from there, as the loop does, all at once.
#
# With $K$ slices that takes $T/K + K + T/K$ turns if phase 2 goes from slice to slice, and $T/K + \log_2 K + T/K$ if it
# is itself a scan. The price does not grow with $T$: to compose a step costs three steps forward ($c$, $lo$ and $hi$
# each take one) and two backward ($s$ and $c$), to run it again one more.

# %%
plan = cuda.sliced("forward", ir.ACTIVATIONS["relu"], np.dtype("float32"), 8)
print(f"the kernel's plan: {plan.slices} slices of {plan.steps} steps, in tiles of {plan.slices * plan.steps} steps")
lengths = np.geomspace(16, 2**16, 200).astype(int)
tiles = -(-lengths // (plan.slices * plan.steps))
turns = {"loop: T": lengths,
         "the kernel's tiles": tiles * (plan.steps + plan.slices - 1 + plan.steps),
         "64 slices, phase 2 a scan": 2 * -(-lengths // 64) + 6,
         "scan by doubling: log₂ T": np.array([analysis.combines(int(T))[-1] for T in lengths])}
fig, ax = plt.subplots()
for name, values in turns.items():
    ax.loglog(lengths, values)
    ax.text(8e4, values[-1], name, va="center")
ax.set(xlabel="length T (steps)", ylabel="turns, one after the other", xlim=(16, 2e7), ylim=(1, 2e5),
       title="Slices divide the turns; doubling takes their logarithm")
ax.set_xticks([100, 1000, 10_000], ["100", "1000", "10 000"])
ax.minorticks_off()
plt.show()

# %% [markdown]
# Turns are not seconds; no speed on a GPU has been measured yet. The kernel of this package takes slices, because then
# each number is read once and written once, as in the loop.
#
# ## The three phases in NumPy
#
# Slices of one sequence can be laid side by side, just as sequences of a batch are. That makes phase 3 a call of the
# specification itself. First with numbers for which every sum and product is exact: $u$ is 1, −1, ½ or −½, drives and
# $h_0$ are whole numbers. Then scan and loop must agree in every bit.

# %%
def compose(slices, u):
    """Phase 1: make one map of each slice; slices (L, K, B, N), all K at once."""
    whole = np.ones_like(slices[0])
    made = Clamp(whole, 0 * whole, -np.inf * whole, np.inf * whole)
    for a_t in slices:
        made = Clamp(u * whole, a_t, 0 * whole, np.inf * whole).after(made)
    return made


def enter(maps, h0):
    """Phase 2: pass the state from slice to slice; return what enters each, (K, B, N)."""
    entering = [h0]
    for k in range(len(maps.c) - 1):
        entering.append(Clamp(*(part[k] for part in maps))(entering[-1]))
    return np.stack(entering)


def in_slices(a, u, h0, L):
    """Run the three phases; T is a multiple of L."""
    T, B, N = a.shape
    slices = a.reshape(T // L, L, B, N).swapaxes(0, 1)           # (L, K, B, N)
    entering = enter(compose(slices, u), h0)
    h = ir.recurrence.forward(slices.reshape(L, -1, N), u, entering.reshape(-1, N), "relu")          # phase 3
    return h.reshape(L, T // L, B, N).swapaxes(0, 1).reshape(T, B, N)

# %%
u = np.array([1.0, -1.0, 0.5, -0.5])
a, h0 = rng.integers(-8, 9, (32, 3, 4)).astype(float), rng.integers(0, 9, (3, 4)).astype(float)
assert (in_slices(a, u, h0, L=8) == ir.recurrence.forward(a, u, h0, "relu")).all()
print("exact numbers: equal in every bit")

# %% [markdown]
# Now any numbers, $T = 4096$, 64 slices of 64 steps. An element passes at most $L$ compositions in its slice, at most
# $K$ maps on its way to a later one, and $L$ steps there: $2L + K$ in all. With that count the same theorem bounds the
# error. The specification's own order has up to $T - 1$.

# %%
T, L = 4096, 64
u = rng.uniform(0.99, 2 ** (1 / T), 8) * [1, 1, 1, 1, -1, -1, -1, -1]
a, h0 = rng.standard_normal((T, 3, 8)) + 0.1, rng.random((3, 8))
sliced, spec = in_slices(a, u, h0, L), ir.recurrence.forward(a, u, h0, "relu")
t = np.arange(T)
allowed = (analysis.scan_forward_error(a, u, h0, passed=np.minimum(t, 2 * L + T // L))
           + analysis.scan_forward_error(a, u, h0, passed=t))
same = (sliced == spec).mean(axis=(0, 1))
print(f"same bits: {same[:4].mean():.0%} where u > 0, {same[4:].mean():.0%} where u < 0")
print(f"largest difference {np.abs(sliced - spec).max():.1e}, "
      f"at most {(np.abs(sliced - spec) / allowed).max():.3f} of what is allowed")
assert (np.abs(sliced - spec) <= allowed).all()

# %% [markdown]
# Phase 3 *is* the loop, and only what enters a slice was rounded otherwise. Where ReLU has cut off the past since, as
# it soon does where $u < 0$, no trace of it is left. (Set `L = 4096`: one slice, and all bits are equal.)
#
# ## The same in CUDA
#
# The kernels are read here from the files that run. A thread composes its run of steps with `then`: the ends pass
# through the step themselves, and where $u < 0$ they change places.

# %%
def excerpt(name, first, last):
    """Print a kernel's lines from the one that holds `first` to the next that holds `last`."""
    lines = Path("../indrnn_np/engines/kernels", name).read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if first in line)
    stop = next(i for i in range(start, len(lines)) if last in lines[i])
    print("\n".join(line.removeprefix("    ") for line in lines[start:stop + 1]))


excerpt("maps.cuh", "void then(const Column& column, real a)", "}")

# %% [markdown]
# And the tile: phase 1 composes, a barrier, phase 2 applies the maps of the slices before, a barrier, phase 3 runs and
# stores. (`state` in phase 2 is what `enter` returns above.)

# %%
excerpt("slices_forward.cu", "Forward run{", "store += tile;")

# %% [markdown]
# One thing our NumPy phases lack: `apply` may return `false`. A loop can stay finite where the product of its slopes
# overflows, and then a map must not stand for its run. So a map knows whether all its numbers are of moderate size; one
# that is not is replaced by the run itself, step by step. NaN and infinity therefore appear where the loop has them.
#
# Backward has the same phases with `Affine` maps, and sums $du$ and $db$ on the way, slice by slice in one fixed order:
#
# - [slices.cuh](../indrnn_np/engines/kernels/slices.cuh): the plan of both directions;
#   [maps.cuh](../indrnn_np/engines/kernels/maps.cuh): the two kinds of map
# - [slices_forward.cu](../indrnn_np/engines/kernels/slices_forward.cu),
#   [slices_backward.cu](../indrnn_np/engines/kernels/slices_backward.cu)
#
# ## What was shown
#
# - Backward is a scan for every activation: affine maps, two numbers a step.
# - Forward is one for ReLU and identity: a line with two ends, four numbers, whatever the sign of $u$. For leaky ReLU
#   and tanh it is not.
# - A scan rounds otherwise than a loop: more exactly here for drives of one sign, less so where terms cancel or are cut
#   off. How far it may go is proved, and was not passed.
# - Three phases over slices do it at a price that does not grow with $T$; exact numbers give equal bits.
#
# Where it stands, and what holds it:
#
# - the maps, the scan, and what does not close:
#   [scan](../indrnn_np/analysis/scan.py), [test_scan](../tests/test_scan.py)
# - the bound, and that it is nearly attained:
#   [scan_rounding](../indrnn_np/analysis/scan_rounding.py), [test_scan_rounding](../tests/test_scan_rounding.py)
# - the kernels, compiled for the CPU and held against the specification:
#   [cuda](../indrnn_np/engines/cuda.py), [test_kernels](../tests/test_kernels.py)
#
# Next: [7. Verify yours](7_verify_yours.ipynb), where a function of your own is held against all of this.
