# %% [markdown]
# # 3. The bound holds one gradient, and nothing else
#
# The paper keeps $|u| \le \gamma^{1/T}$, so that $|\partial h_T/\partial h_t| \le \gamma$ for every $t$ (Eq. 4). This
# notebook puts $u$ exactly there, with $\gamma = 2$ and $T = 5000$, and reads everything else: the state, the gradient
# by $u$, gradients of losses at every step, stacks of layers, tanh, clipping, and what happens to $u$ in training. Each
# number stands beside the bound that does hold for it. At the end are short answers to what people ask.
#
# It needs NumPy, matplotlib and Eq. 4 (notebook 2), and runs in under half a minute.

# %%
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

import indrnn_np as ir
from indrnn_np import analysis, nn

plt.style.use("book.mplstyle")

# %% [markdown]
# ## The smallest example: one neuron, always active, input 1
#
# ReLU, $W = 1$, $b = 0$, $x_t = 1$: then $z_t > 0$ throughout, every slope is 1, and
# $h_t = 1 + u\,h_{t-1}$. The range's upper end is the largest float whose $T$-th power is at most $\gamma$; the
# assertion decides that in whole numbers.
#
# **Before you run it:** $\partial h_T/\partial h_0$ will be 2. How large is $h_T$? And $\partial h_T/\partial u$?

# %%
T, γ = 5000, 2.0
u = analysis.recurrent_weight_range(T, gamma=γ)[1]
assert Fraction(u) ** T <= γ                                     # exactly

x, W = np.ones((T, 1, 1)), np.ones((1, 1))
trace = ir.forward(x, W, np.array([u]), activation="relu")
last = np.zeros_like(trace.h)
last[-1] = 1                                                     # J = h_T: a loss at the last step alone
du = ir.backward(last, trace).du[0]

print(f"u         = {u:.6f}")
print(f"∂h_T/∂h_0 = {analysis.gradient_through_time(trace)[0, 0, 0]:.4f}")
print(f"h_T       = {trace.h[-1, 0, 0]:.0f}")
print(f"∂h_T/∂u   = {du:.3g}")

# %% [markdown]
# ## h is not bounded: it reaches 7213 at T = 5000
#
# What Eq. 4 bounds is how $h_T$ *moves* with $h_0$. The state itself is a sum of $T$ such effects, one for every input:
# $h_T = \sum_{j<T} u^j = G_T$. The bound that holds for any input is
# $|h_T| \le A\,G_T(|u|) + |u|^T H_0$, where $A$ bounds $|W x_t + b|$ and $H_0$ bounds $|h_0|$; our example attains it.
#
# ## ∂h_T/∂u is not bounded: it is 2.0e7
#
# $u$ acts at every step, each time on a state that may be large: $\partial h_T/\partial u = \sum_t u^{T-t} h_{t-1}$, a
# sum of $T$ terms of size up to 7213. Since $h_T = G_T$ here, it is the derivative of that sum,
# $G'_T = \sum_{j<T} j\,u^{j-1}$. The bound that holds for any input is $A\,G'_T(|u|) + T |u|^{T-1} H_0$.

# %%
bounds = analysis.a_priori_bounds(T, u, A=1.0, D=1.0, loss="last")
for name, found, bound in (("h_T", trace.h[-1, 0, 0], bounds.h[-1]), ("du", du, bounds.du)):
    print(f"{name:4} found {found:.6g}   bound {float(bound):.6g}")
    # All terms are positive. Either side is a chain of at most 3 roundings for each of T steps, each of eps/2.
    assert abs(found - bound) <= 2 * 3 * T * (np.finfo(float).eps / 2) * bound

# %% [markdown]
# Over all lengths, with $u$ at the bound for that length, four numbers grow at four rates.

# %% picture="bound.png"
lengths = np.unique(np.geomspace(10, 10_000, 13).astype(int))
open_ = [analysis.what_the_range_leaves_open(int(n), γ) for n in lengths]
curves = {"$du$, losses at every\nstep: as $T^3$": [o.du_every for o in open_],
          r"$\partial h_T/\partial u$: as $T^2$": [o.du_last for o in open_], "$h_T$: as $T$": [o.h for o in open_],
          r"$\partial h_T/\partial h_0 = 2$": [o.u ** int(n) for o, n in zip(open_, lengths, strict=True)]}
for values, power in zip(curves.values(), (3, 2, 1, 0), strict=True):
    assert round(np.log(values[-1] / values[-2]) / np.log(lengths[-1] / lengths[-2]), 1) == power

fig, ax = plt.subplots()
for name, values in curves.items():
    line, = ax.loglog(lengths, values)
    ax.text(1.15 * lengths[-1], values[-1], name, va="center", color=line.get_color())
ax.set(xlabel="length T (steps)", ylabel="size, with $u = 2^{1/T}$", xlim=(10, 2.5e5), ylim=(0.5, 1e13),
       title="At the bound one gradient is 2; the others grow as T, T² and T³")
plt.show()

# %% [markdown]
# What this means in practice, at $T = 5000$: to change $u$ by one unit in the last place of float32 moves $h_T$ by 2.4,
# and the curvature of $(h_T - y)^2$ along $u$ is millions of times that along $W$. Gradient descent is stable below
# 2 / curvature, so a learning rate that suits $W$ is far too large for $u$. Give $u$ its own.

# %%
at_5000 = analysis.what_the_range_leaves_open(T, γ)
print(f"relative change of h_T per relative change of u    {at_5000.condition:.0f}")
print(f"one float32 step of u moves h_T by                 {at_5000.float32_step:.1f}")
print(f"curvature along u ÷ curvature along W              {at_5000.curvature_u / at_5000.curvature_W:.2g}"
      f"    (T/2)² = {(T / 2)**2:.2g}")

# %% [markdown]
# ## Losses at every step add up: the gradient by h_0 is 7214, not 2
#
# Eq. 4 has one loss, at the last step. A language model has a loss at every step, and each sends its own gradient back.
# With $\partial J/\partial h_t = 1$ at each step (the partial derivative, $dh_t$), what arrives at step $t$ is
# $dz_t = \sum_{k \ge t} u^{k-t} = G_{T-t+1}$. At the first step that is $G_T = 7213$, the same sum as $h_T$; to $h_0$
# it is one more factor, $dh_0 = u\,dz_1$.
#
# **Predict:** which of the two lines below is straight, and where is the larger one largest?

# %%
every = np.ones_like(trace.h)                                    # J = Σ h_t
dz_last, _, dh0_last = ir.recurrent_backward(last, trace.h, None, trace.u)
dz_every, du_every, dh0_every = ir.recurrent_backward(every, trace.h, None, trace.u)
summed = analysis.a_priori_bounds(T, u, loss="every")

fig, ax = plt.subplots()
ax.semilogy(np.arange(1, T + 1), dz_every[:, 0, 0], label="a loss at every step")
ax.semilogy(np.arange(1, T + 1), dz_last[:, 0, 0], label="a loss at the last step alone")
ax.set(xlabel="step t", ylabel="total gradient $dz_t$", ylim=(0.5, 3e4),
       title=f"Back to $h_0$, a loss at every step makes a gradient of {dh0_every[0, 0]:.0f}, not {dh0_last[0, 0]:.0f}")
ax.legend(loc="center left")
plt.show()
print(f"dz_1 = {dz_every[0, 0, 0]:.0f}, dh_0 = u dz_1 = {u * dz_every[0, 0, 0]:.0f}; "
      f"of the mean over the steps dh_0 would be {dh0_every[0, 0] / T:.1f}")
print(f"by h_0: last step {dh0_last[0, 0]:.4f}, every step {dh0_every[0, 0]:.0f} (bound {float(summed.dh0):.0f})")
print(f"by u:   last step {du:.2g}, every step {du_every[0]:.2g} (bound {float(summed.du):.2g})")

# %% [markdown]
# A loss that is the *mean* over steps divides all this by $T$. Which of the two a framework takes is worth a look.
#
# ## A negative u, and tanh, are milder, each in its own way
#
# The range speaks of $|u|$: both signs are in it, and $\partial h_T/\partial h_0$ only changes its sign with the parity
# of the lag. The other numbers do depend on the sign. For any drive with $|W x_t + b| \le 1$ (tanh: any at all):

# %%
rows = {"ReLU, u > 0": analysis.a_priori_bounds(T, u, loss="last"),
        "ReLU, u < 0": analysis.piecewise_linear_bounds(T, -u, "relu", loss="last"),
        "identity, u < 0": analysis.piecewise_linear_bounds(T, -u, "identity", loss="last"),
        "tanh, either": analysis.saturating_bounds(T, u, "tanh", loss="last")}
print(f"{'':16} {'|dh_0|':>8} {'|h_T|':>8} {'|du|':>9} {'|db|':>8}")
for name, b in rows.items():
    print(f"{name:16} {float(b.dh0):8.2f} {float(b.h[-1]):8.0f} {float(b.du):9.3g} {float(b.db):8.4g}")

# %% [markdown]
# A ReLU with $u < 0$ that fires pulls its next pre-activation down, so it cannot build up a state. A tanh cannot be
# large and steep at once: $|h| \to 1$ only where $\sigma' \to 0$. Put together exactly, the largest
# $|\partial h_t/\partial u|$ over *all* drives grows as $\sqrt{t/2}$ at $|u| = 1$. The bound that takes $|h| \le 1$ and
# $\sigma' \le 1$ separately says $t - 1$.

# %%
rng = np.random.default_rng(0)
drive = rng.standard_normal((T, 100, 1))                         # 100 sequences of random input
random = ir.forward(drive, W, np.array([1.0]), activation="tanh")
sharp = analysis.largest_sensitivity(T, 1.0, "tanh")
steps = np.arange(1, T + 1)
fig, ax = plt.subplots()
ax.loglog(steps[1:], steps[:-1], label="the two bounds multiplied: t − 1")
ax.loglog(steps[1:], sharp[1:], label=r"the largest there is, about $\sqrt{t/2}$")
ax.loglog(steps[1:], abs(analysis.sensitivities(random).p[1:]).max(axis=(1, 2)), lw=1, ls="-",
          label="largest of 100 random drives")
ax.set(xlabel="step t", ylabel=r"$|\partial h_t/\partial u|$ of a tanh, $u = 1$", ylim=(0.3, 1e4),
       title=f"For tanh this is {sharp[-1]:.0f} at most at t = 5000, not 4999")
ax.legend()
plt.show()
print(f"at t = {T}: the largest there is {sharp[-1]:.2f}, the bounds multiplied {T - 1}")

# %% [markdown]
# ## The lower end promises nothing to a tanh, nor to a ReLU that falls silent
#
# With $|\sigma'| \le 1$ the upper end is safe for every trajectory. The lower end, $|u| \ge \epsilon^{1/T}$, assumes
# slopes of 1. The same $u = 2^{1/5000}$, with ordinary input:

# %%
lines = []
for name, σ in (("always active", "identity"), ("tanh", "tanh"), ("relu", "relu")):
    run = ir.forward(drive, W, np.array([u]), activation=σ)
    log10 = analysis.log_gradient_through_time(run).log[0] / np.log(10)
    lines.append(f"{name:14} median |∂h_T/∂h_0| = 10^{np.median(log10):.1f}, "
                 f"exactly 0 in {np.isneginf(log10).mean():.0%} of sequences")
print(*lines, sep="\n")

# %% [markdown]
# ## Depth: two layers at the bound reach 9999
#
# Through $L$ layers a signal may wait in any of them, so many paths lead from $x_{T-k}$ to $h^L_T$:
# $\binom{k+L-1}{L-1}$ of them, each with the factor $u^k$ (unit weights between the layers, everything active).
# `stack_gradient` runs backpropagation through a stack and returns this derivative at every lag; `stack_bound` is what
# it cannot exceed, whatever the input. Two layers, one neuron in each, $u$ at the bound, beside one layer:

# %%
for layers in (1, 2):
    stack = [W] * layers, [np.array([u])] * layers
    found = analysis.stack_gradient(*stack, lags=T - 1)[-1].item()                # at the largest lag
    bound = analysis.stack_bound(*stack, lags=T - 1)[-1].item()
    print(f"{layers} layer{'s' * (layers > 1)}: ∂h_T/∂x_1 found {found:.4g}   bound {bound:.4g}")
    assert found <= bound                                                         # exactly: the bound is rounded up

# %% [markdown]
# The closed form, $\binom{k+L-1}{L-1} u^k$, needs no run.
#
# **Predict:** by how much must $|u|$ shrink for six layers and $T = 784$?

# %%
fig, ax = plt.subplots()
lags = np.arange(784)
for layers in (1, 2, 3, 6):
    log10 = analysis.log_stack_kernel(layers, analysis.recurrent_weight_range(784)[1], lags) / np.log(10)
    line, = ax.plot(lags, log10)
    ax.text(795, log10[-1], f"{layers} layer{'s' * (layers > 1)}", va="center", color=line.get_color())
ax.set(xlabel="lag k (steps)", ylabel=r"$\log_{10}\,\partial h^L_T/\partial x_{T-k}$", xlim=(0, 900),
       title="Six layers, each u in range: a gradient of 5·10¹²")
plt.show()

# %%
print(" L     T   at u = 2^(1/T)   |u| for ≤ 2 at lag T−1   |u| for ≤ 2 at every lag")
for L, n in ((1, 5000), (2, 5000), (6, 784), (21, 50)):
    gradient = np.exp(analysis.log_stack_kernel(L, analysis.recurrent_weight_range(n)[1], n - 1))
    limits = [analysis.stack_weight_limit(L, n - 1, every_lag=each) for each in (False, True)]
    print(f"{L:2} {n:5} {gradient:16.4g} {limits[0]:24.5f} {limits[1]:26.5f}")

# %% [markdown]
# These weights between layers are 1; with $W = w$ in each, all is multiplied by $w^L$. The paper's range
# is one layer's; in a stack, the weights between the layers, and what normalises them, have their part in the gradient.
# For one layer `every_lag` changes nothing: its gradient is largest at the largest lag.
#
# ## Three things are called clipping, and they do different things
#
# 1. *Projection*: after the update, $u$ is put back into its range.
# 2. *Clipping in the graph*: the network uses $u$ = clip($v$), the optimiser moves $v$. Beyond the range $dv = 0$.
# 3. *Clipping the gradient*: the step is bounded, $u$ is not.
#
# One neuron, $T = 100$, learns $u$ from its last state. On the left the best $u$ is inside the range and the start
# outside; on the right it is the other way round.

# %%
n, high = 100, analysis.recurrent_weight_range(100)[1]
small = np.full((n, 1, 1), 0.002)


def gradient(u, best):
    run, goal = (ir.forward(small, W, np.array([v])) for v in (u, best))
    dh = np.zeros_like(run.h)
    dh[-1] = run.h[-1] - goal.h[-1]                              # J = ½ (h_T − y)²
    return analysis.clip_by_value(ir.backward(dh, run).du, 1.0)  # every method has its gradient clipped to 1


def learn(start, best, use, after):
    v = [np.array([start])]
    for _ in range(100):
        clipped, pull = use(v[-1])
        v.append(after(v[-1] - 1e-3 * pull(gradient(clipped[0], best))))
    return np.array(v)[:, 0]


# %%
def plain(v):
    return v, lambda g: g


methods = {"projected after each update": (plain, lambda v: analysis.project(v, 0.0, high)),
           "clipped in the graph": (lambda v: analysis.clip_in_graph(v, 0.0, high), lambda v: v),
           "gradient clipped, u free": (plain, lambda v: v)}
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, (start, best) in zip(axes, ((1.02, 0.98), (0.98, 1.02)), strict=True):
    for name, method in methods.items():
        ax.plot(learn(start, best, *method), label=name)
    ax.axhline(high, color="0.5", lw=0.8)
    ax.axhline(best, color="0.5", lw=0.8, ls=":")
    ax.set(xlabel=f"update (start {start}, best u {best})")
axes[0].set(ylabel="trained weight", ylim=(0.97, 1.035))
axes[0].text(100, high + 0.0007, r"$2^{1/100}$", ha="right")
axes[1].legend(loc="lower right", fontsize=10)
fig.suptitle("Projection holds u and frees it; in the graph v sticks; a clipped gradient holds nothing", fontsize=11)
plt.show()

# %%
stuck = learn(1.02, 0.98, *methods["clipped in the graph"])
free = learn(0.98, 1.02, *methods["gradient clipped, u free"])
held = learn(0.98, 1.02, *methods["projected after each update"])
assert (stuck == 1.02).all()                                     # its gradient is 0, for ever
assert free.max() > high
assert (held <= high).all()
print(f"sticks at {stuck[-1]:.2f}; free reaches {free[-1]:.3f}; projected ends at {held[-1]:.5f} ≤ {high:.5f}")

# %% [markdown]
# ## A gradient that is clipped inside the recurrence is the gradient of nothing
#
# The authors' first implementation clips $dz_t$ at each step *before* it is carried on. On one neuron
# ($T = 200$, $u = 1.02$, last cotangent 5, limit 1) this leaves something else than clipping $du$ in the end:

# %%
n, limit = 200, 1.0
dh = np.zeros((n, 1, 1))
dh[-1] = 5.0                                                     # J = 5 h_T


def by_u_and_b(u, b, inside):
    a = np.full((n, 1, 1), b)
    h = ir.recurrent_forward(a, np.array([u]))
    args = dh, h, a, np.array([u]), np.zeros((1, 1)), "relu", limit if inside else np.inf
    da, du, _ = analysis.backward_clipping_inside(*args)
    return du[0], da.sum()


whole = by_u_and_b(1.02, 0.01, inside=False)[0]
print(f"T = {n}, u = 1.02: du unclipped {whole:.0f}, clipped inside {by_u_and_b(1.02, 0.01, inside=True)[0]:.0f}, "
      f"clipped after {analysis.clip_by_value(np.array([whole]), limit)[0]:.0f}")

# %% [markdown]
# Were $(du, db)$ the gradient of some function of $(u, b)$, its second derivatives would agree:
# $\partial(du)/\partial b = \partial(db)/\partial u$. Here, for every $u \ge 1$, each clipped $dz_t$ is 1, so $db = T$
# does not move with $u$; but $du = \sum_t h_{t-1}$ does move with $b$. No function has such a gradient, so there is
# nothing that the optimiser descends.

# %%
δ = 2.0 ** -10
for inside in (False, True):
    du_by_b = (by_u_and_b(1.02, 0.01 + δ, inside)[0] - by_u_and_b(1.02, 0.01 - δ, inside)[0]) / (2 * δ)
    db_by_u = (by_u_and_b(1.02 + δ**2, 0.01, inside)[1] - by_u_and_b(1.02 - δ**2, 0.01, inside)[1]) / (2 * δ**2)
    print(f"{'clipped inside' if inside else 'unclipped':14}  ∂(du)/∂b = {du_by_b:.6g}   ∂(db)/∂u = {db_by_u:.6g}")
assert db_by_u == 0
assert by_u_and_b(1.02, 0.01, True)[1] == n * limit              # exactly
assert du_by_b > 1e5

# %% [markdown]
# ## Nothing keeps u from drifting down
#
# The upper bound stops $u$ from growing. A memory ends the other way: $(1 - 1/T)^T \approx 0.37$. Let one neuron learn
# the mean of 1000 random numbers, from $u = 1$ and an input weight twice too large. Only the
# input weight would have to change. But Adam moves each by about its rate, 0.001, and that is $1/T$.
#
# **Predict:** after how many updates is less than a tenth of the memory left?

# %%
n, B = 1000, 20
top = analysis.recurrent_weight_range(n)[1]


def gradients(params, x):
    run = ir.forward(x, params["W"], params["u"])
    dh = np.zeros_like(run.h)
    dh[-1] = (run.h[-1] - x.mean(axis=0)) / B                    # J = ½ mean (h_T − y)²
    found = ir.backward(dh, run)
    return {"W": found.dW, "u": found.du}


def train(low, updates=200):
    rng, adam, params, path = np.random.default_rng(0), nn.Adam(rate=1e-3), {"W": W * 2 / n, "u": np.ones(1)}, [1.0]
    moments = adam.initial(params)
    for _ in range(updates):
        adam.update(params, gradients(params, rng.random((n, B, 1))), moments)
        params["u"] = analysis.project(params["u"], low, top)
        path.append(params["u"][0])
    return np.array(path)


# %%
low = analysis.recurrent_weight_range(n, epsilon=0.5)[0]
free, held = train(0.0), train(low)
assert free.max() < top                                          # the upper bound never had to act
gone = np.flatnonzero(free**n < 0.1)
fig, ax = plt.subplots()
ax.semilogy(held ** n, label=f"|u| ≥ {low:.5f} = $0.5^{{1/1000}}$ enforced too")
ax.semilogy(free ** n, label="upper bound alone")
ax.set(xlabel="update", ylabel=r"memory, $\partial h_T/\partial h_0 = u^{1000}$", ylim=(3e-3, 2),
       title=f"After {gone[0]} updates less than a tenth of the memory is left" if gone.size else
       f"After {len(free) - 1} updates {free[-1]**n:.0%} of the memory is left")
ax.legend(loc="center right")
plt.show()
print(f"u after {len(free) - 1} updates: {free[-1]:.4f}, "
      f"a memory of {analysis.memory_length(free[-1], 0.5):.0f} steps down to ½")

# %% [markdown]
# Set `rate=1e-5` in `train` and run the two cells again: more than half of the memory
# stays. This is why recipes for long sequences give $u$ a smaller rate, hold the last layer's at 1, or enforce a lower
# end.
#
# ## What people ask
#
# **Is the range two-sided, what about the sign of u?**
# ([batzner/indrnn #1](https://github.com/batzner/indrnn/issues/1),
# [#4](https://github.com/batzner/indrnn/issues/4)) The range is of $|u|$: $-\gamma^{1/T} \le u \le \gamma^{1/T}$. A
# projection keeps the sign, and with a lower end it must decide where 0 goes; sign(0) = 0 lets it escape.

# %%
v = np.array([-1.3, -0.2, 0.0, 0.2, 1.3])
print("project          ", analysis.project(v, 0.9, 1.1))
print("sign(v)·clip(|v|)", np.sign(v) * np.clip(abs(v), 0.9, 1.1))

# %% [markdown]
# **Where does the lower bound come from?** ([smorad/memax #28](https://github.com/smorad/memax/issues/28)) From §3.1:
# $|u|^T \prod \sigma' \ge \epsilon$. As $\epsilon^{1/T}$ it holds for slopes of 1 only, as seen above; and the
# follow-up paper enforces the upper end alone; it uses the lower one to *draw* the last layer's $u$.
#
# **T = 5000 does not train.**
# ([batzner/indrnn #9](https://github.com/batzner/indrnn/issues/9)) Drawn from
# $U[0, \gamma^{1/T}]$, next to no neuron remembers for that long: in a layer of 128, none as a rule.

# %%
low, high = analysis.recurrent_weight_range(T, epsilon=0.5, gamma=2.0)
share = (high - low) / high
drawn = analysis.uniform_weight(1_000_000, T, rng=np.random.default_rng(0))
print(f"share of U[0, 2^(1/T)] that keeps half over T = 5000: {share:.2e}; drawn: {(drawn >= low).mean():.2e}")
print(f"expected among 128 neurons: {128 * share:.3f}")
last_layer = analysis.long_term_weight(128, T, epsilon=0.5, rng=np.random.default_rng(0))
assert (analysis.classify(last_layer, T, epsilon=0.4999) == "long-term").all()

# %% [markdown]
# So the last layer is drawn from $[\epsilon^{1/T}, \gamma^{1/T}]$, or set to 1, and its rate is kept low.
#
# **Is MAG^{1/T} worth it over [−1, 1]?**
# ([lmnt-com/haste #7](https://github.com/lmnt-com/haste/issues/7)) At $|u| = 1$
# the gradient is 1, at the bound it is MAG: that is all there is to gain, and the state grows with it. At $T = 5000$
# the two ends differ by less than one step of Adam at the papers' rate, 0.0002.

# %%
print("   T  MAG   MAG^(1/T) − 1   gradient   h_T, against T at u = 1")
for n, mag in ((20, 5.0), (100, 2.0), (784, 2.0), (5000, 2.0)):
    o = analysis.what_the_range_leaves_open(n, mag)
    print(f"{n:4} {mag:4.0f} {o.u - 1:15.6f} {o.u**n:10.1f} {o.h:10.0f} = {o.h / n:.2f} T")

# %% [markdown]
# **Gradient clip or weight bound?**
# ([StefOe/indrnn-pytorch #6](https://github.com/StefOe/indrnn-pytorch/issues/6))
# They do different things, and neither replaces the other. The bound holds $\partial h_T/\partial h_0$, and not $du$,
# which is 2.0e7 at the bound. Clipping by norm holds the gradient, and not $u$.
#
# **What T for the clip?**
# ([titu1994/Keras-IndRNN #8](https://github.com/titu1994/Keras-IndRNN/issues/8)) The number of
# steps that one backward pass goes through: with truncated backpropagation, the window. But the states go on: whoever
# takes the bound for a window of 50 and carries the state on, or runs on longer sequences, has this:

# %%
u_50 = analysis.recurrent_weight_range(50)[1]
for n in (50, 500, 5000):
    bound = analysis.a_priori_bounds(n, u_50, loss="last")
    print(f"clip for T = 50, run for {n:4}: ∂h_T/∂h_0 ≤ {float(bound.dh0):.3g}, h_T ≤ {float(bound.h[-1]):.3g}")

# %% [markdown]
# For such states, $|u| \le 1$ is the bound that does not depend on $T$ (then $h_T \le A\,T + H_0$, still not bounded,
# and $A/(1-|u|) + H_0$ for $|u| < 1$, which is).
#
# ## What was shown
#
# - $|u| \le \gamma^{1/T}$ bounds $\partial h_T/\partial h_t$ by $\gamma$ in one layer. $h_T$ grows as $T$,
#   $\partial h_T/\partial u$ as $T^2$, $du$ of losses at every step as $T^3$.
# - The paths through several layers add up: two layers at the bound give 9999 at $T = 5000$.
# - A negative $u$ and tanh are milder; the lower end promises nothing to either tanh or a silent ReLU.
# - Projection holds $u$. Clipping in the graph can freeze it, clipping the gradient does not hold it, and clipping
#   inside the recurrence gives the gradient of nothing.
# - No upper bound keeps $u$ from drifting down, and a drift of a few $1/T$ ends a memory.
#
# Where it stands, and what holds it:
#
# - the range, exact as rounded:
#   [ranges](../indrnn_np/analysis/ranges.py), [test_ranges](../tests/test_ranges.py)
# - bounds of every gradient; 7213, 2.0e7, 3.0e10:
#   [bounds](../indrnn_np/analysis/bounds.py), [test_bounds](../tests/test_bounds.py)
# - negative u:
#   [piecewise_linear](../indrnn_np/analysis/piecewise_linear.py),
#   [test_piecewise_linear](../tests/test_piecewise_linear.py)
# - tanh, 50.01 against 4999:
#   [saturating](../indrnn_np/analysis/saturating.py), [test_saturating](../tests/test_saturating.py)
# - curvature along u and W:
#   [curvature](../indrnn_np/analysis/curvature.py), [test_curvature](../tests/test_curvature.py)
# - stacks, and the u they need:
#   [depth](../indrnn_np/analysis/depth.py), [test_depth_kernel](../tests/test_depth_kernel.py)
# - projection, clipping in the graph:
#   [control](../indrnn_np/analysis/control.py), [test_control](../tests/test_control.py)
# - clipping gradients; 1187, 1, 19292:
#   [clipping](../indrnn_np/analysis/clipping.py), [test_clipping](../tests/test_clipping.py)
#
# Next: [4. IndRNN and RNN](4_indrnn_and_rnn.ipynb), where u becomes a matrix again.
