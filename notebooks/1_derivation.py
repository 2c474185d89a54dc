# %% [markdown]
# # 1. Backpropagation through time is Eq. 2 read backwards, one line at a time
#
# One equation, then its few lines of code, then numbers that you can check on paper: this notebook derives all five
# gradients of an IndRNN layer. The same lines are then gathered into one function for any $T$, $B$ and $N$, which
# agrees with the package's specification in every bit, and which you are asked to break.
#
# It needs NumPy, matplotlib and the chain rule, and runs in some seconds.

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

import indrnn_np as ir

plt.style.use("book.mplstyle")

# %% [markdown]
# ## What is computed
#
# A layer reads an input $x_t$ at each step $t = 1 \dots T$ and keeps a state $h_t$. Each neuron sees the input and its
# own last state, and no other neuron (Eq. 2 of Li et al. 2018):
#
# $$h_t = \sigma(W x_t + u \odot h_{t-1} + b)$$
#
# Here is the smallest example: three steps, one sequence, one neuron, one input. Every number below is a fraction with
# a power of two under the line, so the computer makes no rounding error, and `==` means equal.
#
# **The drive** is what does not depend on the past: $a_t = W x_t + b$. Below, `a[t]` is $a_t$.

# %%
T = 3
x = {1: 2.0, 2: -2.0, 3: 4.0}
W, u, b, h0 = 0.5, 0.5, 1.0, 2.0

a = {t: W * x[t] + b for t in x}
print("a =", a)

# %% [markdown]
# **The recurrence** adds the past and applies $\sigma$, here ReLU, $\sigma(z) = \max(z, 0)$:
#
# $$z_t = a_t + u\,h_{t-1} \quad\text{(i)} \qquad\qquad h_t = \sigma(z_t) \quad\text{(ii)}$$
#
# On paper: $z_1 = 2 + \tfrac12 \cdot 2 = 3$, then $z_2 = 0 + \tfrac12 \cdot 3 = 1.5$, then
# $z_3 = 3 + \tfrac12 \cdot 1.5 = 3.75$. All are positive, so $h_t = z_t$.

# %%
z, h = {}, {0: h0}
for t in range(1, T + 1):
    z[t] = a[t] + u * h[t - 1]                                   # (i)
    h[t] = max(z[t], 0.0)                                        # (ii)
print("h =", h)

# %% [markdown]
# ## The loss, and its derivative by h_t with all other states held fixed
#
# The loss $J$ is any number made of the states. Take the squared distance from a target $y_t$ at each step,
# $J = \tfrac12 \sum_t (h_t - y_t)^2$. Written as a function of the three numbers $h_1, h_2, h_3$ its *partial*
# derivatives are
#
# $$dh_t = h_t - y_t.$$
#
# This is all that the loss hands to the layer. It knows nothing of time.

# %%
y = {1: 2.0, 2: 1.0, 3: 2.0}


def J(h):
    return sum((h[t] - y[t]) ** 2 for t in y) / 2


dh = {t: h[t] - y[t] for t in y}
print("J  =", J(h))
print("dh =", dh)

# %% [markdown]
# ## What h_t does to J in truth: the total derivative
#
# But $h_1$ is no free number. Move it, and the recurrence moves $h_2$, which moves $h_3$, and $J$ feels all three.
# The derivative of $J$ by $h_t$ when all later steps follow is the *total* derivative, $g_t$. The paper writes it
# $\partial J/\partial h_t$.
#
# **Before you run the cell:** the partial derivative by $h_1$ is 1. Is the total one larger or smaller? For which $t$
# are the two equal?
#
# The cell moves $h_t$ by $\pm\tfrac18$ and divides the change of $J$ by the way. $J$ is quadratic in $h_t$ (every ReLU
# stays active), so this difference is the derivative, without error.

# %%
def J_moved(t, δ, later_follow):
    new = h | {t: h[t] + δ}
    for k in range(t + 1, T + 1) if later_follow else ():
        new[k] = max(a[k] + u * new[k - 1], 0.0)
    return J(new)


measured = {}
for t in (1, 2, 3):
    partial, total = ((J_moved(t, 1 / 8, follow) - J_moved(t, -1 / 8, follow)) / (1 / 4) for follow in (False, True))
    assert partial == dh[t]
    measured[t] = total
    print(f"by h_{t}: partial {partial:6}   total {total:6}")

# %% [markdown]
# The two differ wherever a later step exists. To mistake one for the other is the first classic mistake.
#
# ## Where the total derivative comes from: the chain rule, once
#
# $J$ feels $h_t$ in two ways: directly, and through $z_{t+1} = a_{t+1} + u\,h_t$. Nothing else reads $h_t$. Let $dz_t$
# be the total derivative of $J$ by $z_t$. The direct way contributes $dh_t$; the other contributes $dz_{t+1}$ times
# $\partial z_{t+1}/\partial h_t = u$:
#
# $$g_t = dh_t + u\,dz_{t+1} \quad\text{(iii)} \qquad\qquad dz_t = \sigma'(z_t)\,g_t \quad\text{(iv)}$$
#
# Line (iv) is the chain rule through $h_t = \sigma(z_t)$. ReLU's slope $\sigma'(z)$ is 1 above 0 and 0 elsewhere. After
# the last step comes nothing, so $dz_{T+1} = 0$. Step $t$ needs step $t + 1$: so the loop runs backwards, and what it
# carries is one number per neuron.
#
# On paper: $g_3 = 1.75$, $\;g_2 = 0.5 + \tfrac12 \cdot 1.75 = 1.375$, $\;g_1 = 1 + \tfrac12 \cdot 1.375 = 1.6875$.

# %%
g, dz = {}, {T + 1: 0.0}
for t in reversed(range(1, T + 1)):
    g[t] = dh[t] + u * dz[t + 1]                                 # (iii)
    dz[t] = (z[t] > 0) * g[t]                                    # (iv)

assert g == measured
print("g =", g)

# %% [markdown]
# ## Everything that went into z_t gets its share of dz_t
#
# The hard part is done. Equation (i), $z_t = W x_t + b + u\,h_{t-1}$, is a sum, and $dz_t$ is the derivative by that
# sum. Each argument gets $dz_t$ times what it is multiplied by there, and what serves at several steps adds them up:
#
# $$du = \sum_t dz_t\,h_{t-1} \qquad db = \sum_t dz_t \qquad dh_0 = u\,dz_1 \qquad dW = \sum_t dz_t\,x_t
# \qquad dx_t = W\,dz_t$$
#
# Look at $du$: $u$ is multiplied by the state *before*, $h_{t-1}$. To write $h_t$ there is the second classic mistake.

# %%
by_hand = {"du": sum(dz[t] * h[t - 1] for t in x),               # 1.6875 · 2 + 1.375 · 3 + 1.75 · 1.5
           "db": sum(dz[t] for t in x),                          # 1.6875 + 1.375 + 1.75
           "dh0": u * dz[1],                                     # ½ · 1.6875
           "dW": sum(dz[t] * x[t] for t in x),                   # 1.6875 · 2 − 1.375 · 2 + 1.75 · 4
           "dx": {t: W * dz[t] for t in x}}
for name, value in by_hand.items():
    print(f"{name:4}{value}")

# %% [markdown]
# Is it so? Run the three steps again with one number moved by $\pm\delta$. In $b$, $h_0$ and $W$ the loss is quadratic,
# and the difference must be exact. In $u$ it is not: $u$ is multiplied by itself along the steps, $J$ has degree 6, and
# the difference errs in proportion to $\delta^2$.

# %%
def J_of(W=W, u=u, b=b, h0=h0):
    h = {0: h0}
    for t in x:
        h[t] = max(W * x[t] + b + u * h[t - 1], 0.0)
    return J(h)


def difference(name, δ):
    centre = {"W": W, "u": u, "b": b, "h0": h0}[name]
    return (J_of(**{name: centre + δ}) - J_of(**{name: centre - δ})) / (2 * δ)


for name in ("W", "b", "h0"):
    assert difference(name, 1 / 8) == by_hand["d" + name]
for δ in (1 / 8, 1 / 16, 1 / 32):
    found = difference("u", δ)
    print(f"δ = {δ:<8} difference {found:.6f}   du {by_hand['du']}   error {found - by_hand['du']:.6f}")

# %% [markdown]
# ## The same lines for any T, B and N
#
# Now arrays, time first: x (T, B, M), states (T, B, N), W (N, M), u and b (N,), h0 (B, N). Step $t$ is row $t - 1$.
# All neurons and sequences go side by side, and $u$ is shared by the sequences as well as by the steps, so the sums go
# over both. `σ` is one of the package's activations: `σ(z)` and `σ.slope(z)`.

# %%
def forward(x, W, u, b, h0, σ):
    a = x @ W.T + b                                              # a_t = W x_t + b
    z, h = np.empty_like(a), np.empty_like(a)
    for t in range(len(x)):
        z[t] = a[t] + u * (h[t - 1] if t > 0 else h0)            # (i)
        h[t] = σ(z[t])                                           # (ii)
    return z, h


# %%
def backward(dh, z, h, x, W, u, h0, σ):
    dz, du, carried = np.empty_like(dh), np.zeros_like(u), np.zeros_like(h0)
    for t in reversed(range(len(dh))):
        h_prev = h[t - 1] if t > 0 else h0
        g = dh[t] + u * carried                                  # (iii)
        dz[t] = carried = σ.slope(z[t]) * g                      # (iv)
        du += (dz[t] * h_prev).sum(axis=0)
    dW = np.einsum("tbn,tbm->nm", dz, x)
    return {"dz": dz, "dx": dz @ W, "dW": dW, "du": du, "db": dz.sum(axis=(0, 1)), "dh0": u * dz[0]}


# %% [markdown]
# First the example again. Its arrays have one sequence and one neuron.

# %%
def example(x_2=-2.0, targets=(2.0, 1.0, 2.0)):
    x = np.array([2.0, x_2, 4.0]).reshape(3, 1, 1)
    args = np.array([[0.5]]), np.array([0.5]), np.array([1.0]), np.array([[2.0]])
    z, h = forward(x, *args, ir.ACTIVATIONS["relu"])
    dh = h - np.reshape(targets, (3, 1, 1))
    return z, h, dh, backward(dh, z, h, x, args[0], args[1], args[3], ir.ACTIVATIONS["relu"])


z_a, h_a, dh_a, grads = example()
assert grads["dz"].ravel().tolist() == [dz[1], dz[2], dz[3]]
for name in ("du", "db", "dh0", "dW"):
    assert grads[name].item() == by_hand[name]

# %% [markdown]
# **Predict:** set $x_2 = -6$. Then $z_2 = -2 + 1.5$ is negative, and the ReLU is silent at step 2. What becomes of
# $g_1$, the total derivative by $h_1$, which was 1.6875? And of $dh_0$, which was 0.84375?

# %%
x_2 = -6.0                                                       # change this

z_s, h_s, dh_s, found = example(x_2)
partial, later = dh_s[0].item(), 0.5 * found["dz"][1].item()
print("h  ", h_s.ravel())
print("g_1", partial + later, f"= {partial} + {later + 0.0}")     # (iii); + 0.0 turns −0 into 0
print("dh0", found["dh0"].item())
g_2 = (dh_s[1] + 0.5 * found["dz"][2]).item()
want = 0.5 * g_2 if z_s[1] > 0 else 0
assert later == want, f"x_2 = {x_2}: what comes from behind step 2 is {later}, and should be {want}"

# %% [markdown]
# A slope of 0 cuts the way. $h_1$ no longer reaches steps 2 and 3, so its total derivative is its partial one; what
# lies before a silent step learns nothing from what lies behind it. The assertion says so for any `x_2`: from behind
# step 2 comes $u\,g_2$ if $z_2 > 0$, and exactly nothing if not.
#
# **Predict:** set `x_2` to other values and run the cell again. At which one does the gradient come back? And does
# $g_1$ rise or fall there?

# %%
print("      x_2       z_2    h_2    h_3     g_2     g_1")
for x_2 in (-6.0, -5.0, np.nextafter(-5.0, 0), -4.75, -4.5, -4.0, -3.0, -2.0):
    z_x, h_x, dh_x, found = example(x_2)
    g_1, g_2 = (dh_x[:2] + 0.5 * found["dz"][1:]).ravel()        # (iii)
    print(f"{x_2:9.3f} {z_x[1].item():9.2g} {h_x[1].item():6.2f} {h_x[2].item():6.2f} {g_2:7.4f} {g_1:7.4f}")
    assert g_1 == dh_x[0].item() + (0.5 * g_2 if z_x[1] > 0 else 0)

# %% [markdown]
# It comes back just above $-5$. At $-5$ itself $z_2$ is 0, where the slope is 0 still. The next float above it, the
# third row, is enough, and there $g_1$ jumps *down*, from 1 to 0.75, because a state $h_2$ just above 0 lies 1 below
# its target and $h_3 = 3$ lies 1 above its own, so that $g_2 = -1 + \tfrac12 \cdot 1 = -\tfrac12$. From there on
# $g_2 = \tfrac54 h_2 - \tfrac12$ grows with $h_2$; it passes 0 at $h_2 = 0.4$, which is $x_2 = -4.2$. There nothing
# is cut, and yet $g_1$ is 1, as in silence. So a gradient that is 0 does not prove a silent neuron.
#
# ## Eq. 4 is the same recurrence with a loss at the last step alone
#
# If $J$ looks at $h_T$ only, then $dh_t = 0$ for $t < T$, and (iii) and (iv) become
# $g_t = u\,\sigma'(z_{t+1})\,g_{t+1}$. Used again and again this is a product of numbers, along one neuron:
#
# $$g_t = g_T\; u^{T-t} \prod_{k=t+1}^{T} \sigma'(z_k) \qquad\text{(Eq. 4)}$$

# %%
at_last = {1: 0.0, 2: 0.0, 3: dh[3]}
g_last, dz_last = {}, {T + 1: 0.0}
for t in (3, 2, 1):
    g_last[t] = at_last[t] + u * dz_last[t + 1]
    dz_last[t] = (z[t] > 0) * g_last[t]
    slopes = np.prod([z[k] > 0 for k in range(t + 1, T + 1)])
    assert g_last[t] == g_last[T] * u ** (T - t) * slopes        # Eq. 4
print(g_last)

# %% [markdown]
# With a loss at every step, each loss sends its own product back, and they add up. The picture has one neuron that is
# always active ($\sigma' = 1$), $T = 50$. On the left the loss is $h_T$: the partial derivatives are 0 but for the
# last. On the right it is $\sum_t h_t$: all are 1.
#
# **Predict**, for $u = 1$: what is $g_1$ on the left, and what on the right?

# %%
steps = 50
ones = np.ones((steps, 1, 1))
totals = {}
for u_n in (1.02, 1.0, 0.9, 0.5):
    args = ones, np.ones((1, 1)), np.array([u_n]), np.zeros(1), np.zeros((1, 1)), ir.ACTIVATIONS["identity"]
    z_n, h_n = forward(*args)
    for where, partial in (("the last step", ones * (np.arange(steps) == steps - 1)[:, None, None]),
                           ("every step", ones)):
        totals[where, u_n] = backward(partial, z_n, h_n, *args[:3], *args[4:])["dz"].ravel()
assert totals["the last step", 1.0][0] == 1
assert totals["every step", 1.0][0] == steps

# %%
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, where in zip(axes, ("the last step", "every step"), strict=True):
    for u_n, nudge in ((1.02, 1.25), (1.0, 0.8), (0.9, 1), (0.5, 1)):
        left = (totals[where, u_n] > 2e-4).argmax()
        ax.semilogy(np.arange(1, steps + 1), totals[where, u_n])
        ax.text(left, nudge * totals[where, u_n][left], f"u = {u_n}", ha="right", va="center", size=11)
    ax.set(xlabel="step t", ylim=(1e-4, 300), xlim=(-19, 51), xticks=[1, 25, 50])
    ax.set_title(f"a loss at {where}", size=12)
fig.suptitle("Through the later steps $h_1$ counts for nothing, for 1, or for much more", x=0.02, ha="left", size=13)
axes[0].set_ylabel("total derivative $g_t$")
axes[1].plot([1, steps], [1, 1], "-", color="0.75", lw=5, zorder=0)
axes[1].text(50, 0.5, "partial derivative", ha="right", va="center", size=11)
plt.show()

# %% [markdown]
# ## The function equals the package
#
# Against `ir.recurrence.backward`, the specification, every bit is the same: the lines are the same. `ir.backward` runs
# on the fastest engine there is. There $h$, $dz$ and $dh_0$ still have the same bits, since the recurrence admits one
# order only. The sums over steps and sequences may be taken in another order, so they may round otherwise. By how much
# at most is known: a sum of $n$ products errs by at most $\gamma_n = n\epsilon/(1 - n\epsilon)$ times the sum of their
# absolute values, in any order, with $\epsilon = 2^{-53}$.

# %%
def problem(T=12, B=3, M=4, N=5, seed=1, all_active=False, zero_h0=False):
    def eighths(*shape):
        return rng.integers(-8, 9, shape) / 8.0                  # so W x + b is exact, in any order

    rng = np.random.default_rng(seed)
    x, W, b, h0 = eighths(T, B, M), eighths(N, M), eighths(N) + 5 * all_active, eighths(B, N) * (not zero_h0)
    return rng.standard_normal((T, B, N)), (x, W, rng.uniform(0.3, 1.1, N), b, h0)


σ = ir.ACTIVATIONS["relu"]
standard = problem()
dh, (x, W, u, b, h0) = standard
z, h = forward(x, W, u, b, h0, σ)
mine = backward(dh, z, h, x, W, u, h0, σ)
print(f"{(z > 0).mean():.0%} of the neurons and steps are active")

# %%
a = x @ W.T + b
assert np.array_equal(h, ir.recurrence.forward(a, u, h0, σ))
for ours, theirs in zip((mine["dz"], mine["du"], mine["dh0"]), ir.recurrence.backward(dh, h, a, u, h0, σ), strict=True):
    assert np.array_equal(ours, theirs)                          # every bit

trace = ir.forward(x, W, u, b, h0, "relu")
theirs = ir.backward(dh, trace)
assert np.array_equal(h, trace.h)
assert np.array_equal(mine["dh0"], theirs.dh0)
assert np.array_equal(mine["dz"], ir.recurrent_backward(dh, h, a, u, h0, "relu").da)

# %% tags=["varies"]
def γ(n):
    return n * 2.0**-53 / (1 - n * 2.0**-53)


h_prev = np.concatenate([h0[None], h[:-1]])
size = backward(abs(mine["dz"]), z, h, abs(x), abs(W), 0 * u, h0, ir.ACTIVATIONS["identity"])  # u = 0: the sums alone
size["du"] = abs(mine["dz"] * h_prev).sum(axis=(0, 1))
for name in ("du", "db", "dW", "dx"):
    n = len(u) if name == "dx" else dh[..., 0].size              # terms of each sum: N, or T · B
    apart = abs(mine[name] - getattr(theirs, name))
    assert (apart <= 2 * γ(2 * n + 2) * size[name]).all()        # each of the two sums rounds, and so does size
    print(f"{name}: largest difference {apart.max():.0e}")

# %% [markdown]
# ## A check that knows nothing of backpropagation
#
# Two functions made of the same lines may share a mistake. So compare with derivatives that are taken from `forward`
# alone. The difference quotient has a weakness: a large step $s$ errs by $s^2$, a small one subtracts two nearly equal
# numbers. The **complex step** subtracts nothing. For a function that is analytic,
#
# $$J(u + i s) = J(u) + i s\,J'(u) - \tfrac12 s^2 J''(u) - \dots \qquad\text{so}\qquad
# J'(u) = \mathrm{Im}\,J(u + i s) / s + O(s^2),$$
#
# and $s$ may be $10^{-20}$. The loss is $J = \sum_t dh_t \cdot h_t$ with random numbers $dh_t$, whose partial
# derivatives are these numbers.
#
# **Predict:** how does the error of each look over $s$?

# %%
tanh = ir.ACTIVATIONS["tanh"]
z_s, h_s = forward(x, W, u, b, h0, tanh)
want = backward(dh, z_s, h_s, x, W, u, h0, tanh)["du"][0]


def loss(u_0):
    moved = np.array([u_0, *u[1:]])
    return (dh * forward(x + 0j, W, moved, b, h0, tanh)[1]).sum()


s = 10.0 ** -np.arange(1, 17)
by_difference = [abs(((loss(u[0] + k) - loss(u[0] - k)) / (2 * k)).real / want - 1) for k in s]
by_complex = [abs(loss(u[0] + 1j * k).imag / k / want - 1) for k in s]
fig, ax = plt.subplots()
ax.loglog(s, np.maximum(by_difference, 1e-17), "-o", ms=4, label="central difference")
ax.loglog(s, np.maximum(by_complex, 1e-17), "--s", ms=4, label="complex step")
ax.set(xlabel="step s", ylabel="relative error of $du_0$ (0 drawn at $10^{-17}$)", ylim=(3e-18, 10),
       title="Below some step a difference gets worse; the complex step does not")
ax.legend(loc="upper center")
plt.show()
assert min(by_difference) > 10 * max(by_complex[8:])

# %% [markdown]
# Now all five gradients, and all their elements. What may differ is rounding, and it can be bounded:
#
# - one rounding changes a number by at most $2^{-53}$ of its size;
# - on any path through the $T$ steps, forward, back and in complex numbers, there are at most 20 roundings a step, 20
#   more for each element of $W$, and one for each element of $dh$, the terms of $J$;
# - what is rounded is nowhere larger than in the same computation with every number replaced by its absolute value, in
#   which nothing cancels.
#
# The product of the three is how far an element may be off. (This is for piecewise linear $\sigma$, whose slope has no
# rounding of its own.)

# %%
def allowed_error(dh, z, args, σ):
    x, W, u, b, h0 = map(abs, args)
    _, h = forward(x, W, u, b, h0, ir.ACTIVATIONS["identity"])   # without ReLU: nothing is cut off either
    sizes = backward(abs(dh), z, h, x, W, u, h0, σ)              # the slopes stay: z is the real one
    roundings = 20 * (len(dh) + W.size) + dh.size
    return {name: roundings * 2.0**-53 * size for name, size in sizes.items()}


# %% [markdown]
# `check` takes a function such as `backward`, compares each of its gradients with the complex step of `forward`, and
# returns the largest error, in units of what is allowed: at most 1 is right. Where silent ReLUs and factors of 0 cut
# every way the gradient is exactly 0, no error is allowed, and any other number is `inf` times too far off.

# %%
def check(candidate, on=standard, σ=σ):
    dh, args = on
    z, h = forward(*args, σ)
    x, W, u, _, h0 = args
    got, allowed, ratio = candidate(dh, z, h, x, W, u, h0, σ), allowed_error(dh, z, args, σ), {}
    for k, name in enumerate(("dx", "dW", "du", "db", "dh0")):
        def J(value, k=k):                                       # the loss, with argument k moved
            moved = [value if j == k else argument + 0j for j, argument in enumerate(args)]
            return (dh * forward(*moved, σ)[1]).sum()
        error = abs(got[name] - ir.oracle.numerical.complex_step(J, args[k]))
        worst = np.where(error == 0, 0, np.inf)                  # where no error is allowed
        ratio[name] = np.divide(error, allowed[name], out=worst, where=allowed[name] > 0).max()
    return ratio


def show(ratio):
    for name, value in ratio.items():
        wrong = "no error is allowed here" if value == np.inf else f"{value:.0e} times what rounding may do"
        print(f"{name:4} {'right' if value <= 1 else f'WRONG, {wrong}'}")


show(check(backward))
assert max(check(backward).values()) <= 1

# %% [markdown]
# ## Break it
#
# Below is the function again, with one line changed. **Predict** which gradients the check will call wrong, before you
# run it. Then put the line right, change another one, and run the cell again.

# %%
def backward_to_break(dh, z, h, x, W, u, h0, σ):
    dz, du, carried = np.empty_like(dh), np.zeros_like(u), np.zeros_like(h0)
    for t in reversed(range(len(dh))):
        h_prev = h[t]                                            # ← changed: it was h[t - 1] if t > 0 else h0
        g = dh[t] + u * carried                                  # (iii)
        dz[t] = carried = σ.slope(z[t]) * g                      # (iv)
        du += (dz[t] * h_prev).sum(axis=0)
    dW = np.einsum("tbn,tbm->nm", dz, x)
    return {"dz": dz, "dx": dz @ W, "dW": dW, "du": du, "db": dz.sum(axis=(0, 1)), "dh0": u * dz[0]}


show(check(backward_to_break))

# %% [markdown]
# Only $du$ is wrong: the backward pass itself, $dz$, is untouched, and all others are made of it. Such a layer trains,
# badly, and no error is raised. Here are more mistakes. Each replaces one piece of the text of `backward`, and the
# pattern of what is wrong narrows the fault down: all five wrong mean $dz$ itself, one wrong that gradient's own line.

# %%
mistakes = {"h_t for h_{t−1} in du": ("dz[t] * h_prev", "dz[t] * h[t]"),
            "h_0 forgotten in du": ("else h0", "else 0 * h0"),
            "nothing carried": ("dh[t] + u * carried", "dh[t]"),
            "carried without u": ("dh[t] + u * carried", "dh[t] + carried"),
            "carried without σ′": ("dz[t] = carried = σ.slope(z[t]) * g", "dz[t] = σ.slope(z[t]) * (carried := g)"),
            "dh_0 without u": ("u * dz[0]", "dz[0]"),
            "mean for sum in db": ("dz.sum(axis", "dz.mean(axis")}


def broken(old, new):
    text, room = inspect.getsource(backward), {"np": np}
    assert text.count(old) == 1
    exec(text.replace(old, new), room)
    return room["backward"]


def table(on):
    print(f"{'':24}" + "".join(f"{name:>8}" for name in ("dx", "dW", "du", "db", "dh0")))
    for name, change in mistakes.items():
        ratio = check(broken(*change), on)
        print(f"{name:24}" + "".join(f"{'WRONG' if value > 1 else '·':>8}" for value in ratio.values()))


table(standard)
assert all(max(check(broken(*change)).values()) > 1 for change in mistakes.values())

# %% [markdown]
# ## A check sees no more than its input shows
#
# **Predict:** which of these mistakes go unseen if the initial state is zero and every ReLU is active? And with a
# single step, $T = 1$?

# %%
print("h0 = 0, all active:")
table(problem(all_active=True, zero_h0=True))
print("\nT = 1:")
table(problem(T=1))

# %% [markdown]
# With $h_0 = 0$, to forget $h_0$ costs nothing. Where all slopes are 1, to forget $\sigma'$ costs nothing. With one
# step nothing is carried at all. So a gradient check wants several steps, a random $h_0$, slopes that differ, and a
# cotangent that differs at every step. Notebook 7 hands this to `ir.oracle.verify`, which brings such inputs along.
#
# ## What was shown
#
# - The loss hands over partial derivatives $dh_t$; the total derivative $g_t$ adds what later steps feel.
# - Two lines, (iii) and (iv), carry it back; everything else is a sum over $dz_t$.
# - With a loss at the last step alone they are Eq. 4: a product of numbers along one neuron.
# - The function agrees with the specification in every bit, with the engines but for the order of sums, and with
#   derivatives taken from `forward` alone.
# - One wrong line spoils a pattern of gradients that narrows it down, if the input of the check lets it show.
#
# Where it stands, and what holds it:
#
# - (i) to (iv) and Eq. 4: [`recurrence.py`](../indrnn_np/recurrence.py);
#   [`test_forward_and_backward_agree_with_eq_2_and_eq_4_written_out_by_hand`](../tests/test_recurrence.py)
# - the five gradients: [`layer.py`](../indrnn_np/layer.py);
#   [`test_all_five_gradients_are_derivatives`](../tests/test_layer.py)
# - the same bits on every engine: [`engines/`](../indrnn_np/engines); [`test_engines.py`](../tests/test_engines.py)
# - complex step and differences: [`numerical.py`](../indrnn_np/oracle/numerical.py);
#   [`test_numerical.py`](../tests/test_numerical.py)
# - mistakes and their patterns: [`mistakes/`](../indrnn_np/oracle/mistakes/README.md);
#   [`test_diagnosis.py`](../tests/test_diagnosis.py)
#
# **Next:** [2. The gradient bound](2_the_gradient_bound.ipynb): for which $u$ the product of Eq. 4 neither vanishes nor
# explodes.
