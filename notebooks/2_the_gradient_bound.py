# %% [markdown]
# # 2. Over T steps a gradient survives for $|u|$ from $\epsilon^{1/T}$ to $\gamma^{1/T}$, where every slope is 1
#
# Eq. 4 makes the gradient through time a product of numbers, so it can be said exactly which recurrent weights keep it.
# You will move $u$, $T$ and the activation and predict what happens, see the range close on 1, see how long a weight
# remembers, and see the two cases in which the lower end of the range promises nothing: a silent ReLU and a tanh.
#
# It needs NumPy, matplotlib and Eq. 4 (notebook 1), and runs in about ten seconds.

# %%
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

import indrnn_np as ir
from indrnn_np import analysis

plt.style.use("book.mplstyle")

# %% [markdown]
# ## One product decides
#
# How much does the last state move with an earlier one? Through $h_{k+1} = \sigma(a_{k+1} + u\,h_k)$, and no other way:
#
# $$\frac{\partial h_T}{\partial h_k} = u^{T-k} \prod_{t=k+1}^{T} \sigma'(z_t) \qquad\text{(Eq. 4)}$$
#
# `analysis.gradient_through_time` returns it for every $k$. Take a ReLU neuron that is always active (input 1, positive
# $u$): every slope is 1, and what is left is $u^{T-k}$. Say that a gradient below $\epsilon = 0.001$ is useless and one
# above $\gamma = 2$ is too large. Then, over the whole length,
#
# $$\epsilon \le |u|^T \le \gamma \quad\Longleftrightarrow\quad \epsilon^{1/T} \le |u| \le \gamma^{1/T}.$$
#
# **Predict** $\partial h_T/\partial h_0$ before you run the cell. Then set `u = 0.93`, `1.01` or `1.1`, or `T = 1000`,
# and predict again.

# %%
u, T, activation = 0.95, 100, "relu"                             # change these

ε, γ = 1e-3, 2.0
trace = ir.forward(np.ones((T, 1, 1)), np.ones((1, 1)), np.array([u], float), activation=activation)
low, high = analysis.recurrent_weight_range(T, ε, γ)
gradient = analysis.gradient_through_time(trace)[0, 0, 0]
print(f"range of |u| for T = {T}: {low:.6f} to {high:.6f}")
print(f"u = {u}: ∂h_T/∂h_0 = {gradient:.3g} with {activation}; with slope 1, {analysis.classify(u, T, ε, γ)}")

# %% [markdown]
# Now five neurons of one layer: at both ends, between them, and beyond. On a logarithmic axis each is a straight line,
# whose slope is $\log u$.
#
# **Predict:** which lines end inside the grey band?

# %%
T = 100
low, high = analysis.recurrent_weight_range(T, ε, γ)
weights = np.array([0.90, low, 1.0, high, 1.05], float)          # change these, all above 0
N = len(weights)
trace = ir.forward(np.ones((T, 1, 1)), np.ones((N, 1)), weights, activation="relu")
gradients = analysis.gradient_through_time(trace)

fig, ax = plt.subplots(figsize=(7.2, 4.4))
analysis.plot_gradient_over_lag(gradients, ax)
ax.axhspan(ε, γ, color="0.88", zorder=0)
ax.set_title("Between the two ends of the range, the gradient over T steps stays in the band\n"
             + ", ".join(f"$u_{{{n}}}$ = {v:.4f}" for n, v in enumerate(weights)), fontsize=12)
plt.show()

# %% [markdown]
# Since $\epsilon \le 1 \le \gamma$ and every slope is 1, a weight that is good for lag $T$ is good for all smaller
# lags: the lines are straight and all begin at 1.
#
# ## The ends hold as rounded
#
# The ends are floats, and a float $T$-th root is rounded. The functions return the outermost floats *inside* the
# range, decided in whole numbers. Below, Python's fractions are the judge: no rounding at all.

# %%
inside = [ε <= Fraction(v) ** T <= γ for v in (low, high)]
just_beyond = [ε <= Fraction(v) ** T <= γ for v in (np.nextafter(low, 0), np.nextafter(high, 2))]
print("the ends are inside:", inside, "  their next floats are:", just_beyond)
assert inside == [True, True]
assert just_beyond == [False, False]

lengths = range(1, 501)
naive = sum(Fraction(2.0 ** (1 / n)) ** n > 2 for n in lengths)
ours = sum(Fraction(analysis.recurrent_weight_range(n)[1]) ** n > 2 for n in lengths)
print(f"of {len(lengths)} lengths, 2 ** (1 / T) breaks its own bound for {naive}; recurrent_weight_range for {ours}")
assert naive > 0
assert ours == 0

# %% [markdown]
# It matters to whoever asserts $|u|^T \le \gamma$ in a test. It does not matter to training.
#
# ## The longer the sequence, the narrower the range
#
# These are the ranges of the follow-up paper's Table 1, in numbers: a weight is *long-term* where the gradient over $T$
# steps is above $\epsilon$, *short-term* where not, and *not exploding* where it is at most $\gamma$.
#
# **Predict:** for $T = 5000$ and $\gamma = 2$, in which decimal place does the upper end first differ from 1?

# %%
print("    T    long-term, ε = 0.001    up to γ = 2    up to γ = 5   u = 0.99 is   u = 1.001 is")
for n in (10, 100, 784, 1000, 5000):
    low_n, high_n = analysis.recurrent_weight_range(n, 1e-3, 2.0)
    kinds = [analysis.classify(v, n, 1e-3, 2.0) for v in (0.99, 1.001)]
    print(f"{n:5} {low_n:18.6f} {high_n:18.6f} {analysis.recurrent_weight_range(n, 0, 5.0)[1]:14.6f}"
          f"   {kinds[0]:12}  {kinds[1]}")

# %% [markdown]
# ## A weight remembers for about $\ln(1/\epsilon) / (1 - |u|)$ steps
#
# Turn the question round: given $u$, after how many steps has $|u|^k$ fallen to $\epsilon$? That is
# $k = \ln\epsilon / \ln|u|$, rounded up. From $1 - u \le -\ln u \le (1 - u)/u$ it follows that
#
# $$u\,\frac{\ln(1/\epsilon)}{1 - u} \;\le\; \frac{\ln \epsilon}{\ln u} \;\le\; \frac{\ln(1/\epsilon)}{1 - u},$$
#
# so near 1 the memory is inversely proportional to the distance from 1.
#
# **Predict:** $u = 0.99$ remembers for 688 steps. And $u = 0.999$? And $u = 1$?

# %%
for v in (0.5, 0.9, 0.99, 0.999, 1.0):
    print(f"u = {v:5}: {analysis.memory_length(v, ε):6.0f} steps")
share = 1 - analysis.recurrent_weight_range(5000, ε, 1.0)[0]
print(f"of the weights in [0, 1], one in {1 / share:.0f} remembers 5000 steps")

distance = np.geomspace(1e-5, 0.5, 60)
memory = analysis.memory_length(1 - distance, ε)
law = np.log(1 / ε) / distance
slack = law * 2.0**-53 * (1 / distance + 4)                      # 1 − distance rounds, and so does the law
assert (memory >= (1 - distance) * law - slack).all()
assert (memory <= law + 1 + slack).all()

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
analysis.plot_weight_range(np.unique(np.geomspace(10, 5000, 40).astype(int)), ε, γ, left)
right.loglog(distance, memory)
right.loglog(distance, law)
right.text(0.5, 1e4, r"dashed: $\ln(1/\epsilon)\,/\,(1-u)$", color="#c1440e", ha="right")
right.text(0.15, 12, "solid: memory_length", ha="right")
right.set(xlabel="1 − u", ylabel="memory (steps, down to ε = 0.001)",
          title="Ten times closer to 1, ten times longer")
plt.show()

# %% [markdown]
# A weight drawn evenly from $[0, 1]$ next to never remembers 5000 steps. Where only the last output is used, the
# follow-up therefore draws $u$ of the last layer from the range itself.
#
# ## A silent ReLU forgets all, whatever u is
#
# Until now every slope was 1. A ReLU whose $z_t$ is negative has slope 0 at that step, and a product with one factor 0
# is 0. Four neurons get the same random input. All their weights are in the range; the larger $u$ is, the lower is the
# bias.
#
# **Predict:** which neurons remember: those with the largest $u$? And is the gradient of the others small, or is it
# something else? Then move `u` and `bias`.

# %%
u = np.array([high, 1.0, 0.98, 0.96], float)                     # change these
bias = np.array([-0.5, 0.2, 0.4, 0.6], float)
rng = np.random.default_rng(3)
noise = rng.standard_normal((T, 1, 1))
trace = ir.forward(noise, np.ones((len(u), 1)), u, bias, activation="relu")
gradients = analysis.gradient_through_time(trace)
low_n, high_n = analysis.range_of_slopes(analysis.slopes(trace), ε, γ)
for n in range(len(u)):
    silent = (trace.h[:, 0, n] == 0).sum()
    print(f"u = {u[n]:<5.4g}, bias {bias[n]:4}: silent at {silent:2} steps; ∂h_T/∂h_0 = {gradients[0, 0, n]:.2g}; "
          f"range along these slopes: {low_n[0, n]:.4f} to {high_n[0, n]:.4f}")
    assert (silent > 0) == np.isinf(low_n[0, n]), f"neuron {n}: silent at {silent} steps, lower end {low_n[0, n]}"
    assert silent == 0 or gradients[0, 0, n] == 0, f"neuron {n}: silent at {silent} steps, and yet not forgotten"
    if silent == 0 and gradients[0, 0, n] == 0 != u[n]:
        print(f"    never silent: this 0 is {u[n]:g} to the power {T}, too small for a float")

# %% [markdown]
# Not small: exactly 0. For a neuron that was silent once, the lower end of the range is infinite: no $|u|$ multiplies 0
# up to $\epsilon$. Nor does a larger $u$ prevent it, since for every $u$ there is an input that silences the neuron:
# one step with $a_t < -u\,h_{t-1}$.

# %%
for u in (0.5, 1.0, 1.5):
    drive = np.ones((T, 1, 1))
    grown = ir.recurrent_forward(drive, np.array([u]))[49, 0, 0]
    drive[50] = -u * grown - 1                                   # step 51
    silenced = ir.forward(drive, np.ones((1, 1)), np.array([u]), activation="relu")
    over_lag = analysis.gradient_through_time(silenced)[::-1, 0, 0]
    print(f"u = {u}: lag 49 {over_lag[49]:.3g}, lag 50 {over_lag[50]:.3g}, lag 100 {over_lag[100]:.3g}")
    assert over_lag[49] > 0
    assert (over_lag[50:] == 0).all()

# %% [markdown]
# The upper end needs no such care: slopes of 0 and 1 can only make the product smaller. So for ReLU the paper relaxes
# the range to $|u| \in [0, \gamma^{1/T}]$.
#
# ## The slopes of tanh shrink the gradient further
#
# For tanh, $\sigma'(z) = 1 - \tanh^2 z \le 1$, and less than 1 wherever the neuron says anything. Write $s$ for the
# geometric mean of the slopes along the way; then the gradient is $(s|u|)^T$, and the range is the old one divided by
# $s$. Below $u$ is at the upper end, $2^{1/100}$, and the input is the same noise, scaled.
#
# **Predict:** over 100 steps, which scale leaves the gradient above $\epsilon$?

# %%
scales = np.array([0.0, 0.03, 0.1, 0.3, 1.0], float)             # change these
trace_tanh = ir.forward(noise, scales[:, None], np.full(len(scales), high), activation="tanh")
gradients_tanh = analysis.gradient_through_time(trace_tanh)
with np.errstate(divide="ignore"):                               # a strong input may leave a slope of 0
    means = np.exp(np.log(analysis.slopes(trace_tanh)).mean(axis=0))[0]
for n, scale in enumerate(scales):
    ends = analysis.recurrent_weight_range(T, ε, γ, slope=means[n])
    print(f"scale {scale:4}: mean slope {means[n]:.4g}, range {ends[0]:.4g} to {ends[1]:.4g}, "
          f"∂h_T/∂h_0 = {gradients_tanh[0, 0, n]:.2g}, memory {analysis.memory_length(high, ε, means[n]):.0f} steps")
rounding = 1 + 4 * T * 2.0**-53                                  # of 2 products a step; with slopes of 1 it is at γ
assert (gradients_tanh <= γ * rounding).all(), "safe for any tanh"

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
analysis.plot_gradient_over_lag(gradients, left)
analysis.plot_gradient_over_lag(gradients_tanh, right)
forgetful = (gradients[0, 0] == 0).sum()
left.set_title(f"ReLU: {forgetful} of {len(trace.u)} neurons forget all, whatever u is\nn = 0, 1, …: u = "
               + ", ".join(f"{v:.3g}" for v in trace.u), fontsize=12)
right.set_title("tanh, $u = 2^{1/100}$: strong input is forgotten soonest\nn = 0, 1, …: input scaled by "
                + ", ".join(f"{scale:g}" for scale in scales), fontsize=12)
plt.show()

# %% [markdown]
# The range printed for a scale belongs to the slopes of *this* run. Whoever sets $u$ to its upper end gets another
# run, with larger states and smaller slopes. It tells what a trajectory did, and is no recipe. For any trajectory there
# is only this: slopes are at most 1, so $|u| \le \gamma^{1/T}$ does not explode.
#
# ## The sign of u: the same size, other states
#
# Eq. 4 has $|u|^{T-k}$ in its size, so for equal slopes $-u$ gives the same size, with a sign that alternates with the
# lag. But $u$ also makes the states.
#
# **Predict:** with input 1 at each step, where does $h_t$ go for $u = 0.97$, and where for $u = -0.97$?

# %%
u = 0.97 * np.array([1.0, -1.0])                                 # change the 0.97
runs = {σ: ir.forward(np.ones((T, 1, 1)), np.ones((2, 1)), u, activation=σ) for σ in ("identity", "relu")}
both, of_relu = (analysis.gradient_through_time(run)[:, 0] for run in runs.values())
assert np.array_equal(abs(both[:, 0]), abs(both[:, 1]))          # every bit: a sign rounds nothing
print("also with ReLU:", np.array_equal(both, of_relu))          # as long as it is active throughout
print("the last four gradients:", both[-4:, 0].round(3), both[-4:, 1].round(3))

fig, ax = plt.subplots()
for n in range(2):
    line, = ax.semilogy(np.arange(1, T + 1), runs["relu"].h[:, 0, n])
    ax.text(102, runs["relu"].h[-1, 0, n], f"u = {u[n]}", va="center", color=line.get_color())
ax.set(xlabel="step t", ylabel="$h_t$ (ReLU, input 1)", xlim=(0, 125),
       title="Gradients of one size, states that differ: one adds up, one swings")
plt.show()

# %% [markdown]
# The positive weight goes to $1/(1-u) = 33$, the negative one to $1/(1-u) = 0.51$. And states make slopes: with
# $u = -1.005$, still in the range, the ReLU's second pre-activation is $1 - 1.005 < 0$. It falls silent, and the
# gradient is 0.

# %%
for u in (1.005, -1.005):
    run = ir.forward(np.ones((T, 1, 1)), np.ones((1, 1)), np.array([u]), activation="relu")
    gradient = analysis.gradient_through_time(run)[0, 0, 0]
    assert low <= abs(u) <= high
    print(f"u = {u}: in the range; ∂h_T/∂h_0 = {gradient:.3g}, first states {run.h[:4, 0, 0].round(3)}")
assert gradient == 0

# %% [markdown]
# ## What was shown
#
# - At slope 1, the gradient over $T$ steps lies in $[\epsilon, \gamma]$ exactly for
#   $\epsilon^{1/T} \le |u| \le \gamma^{1/T}$, and then over all smaller lags too.
# - The range closes on 1 as $T$ grows; a weight remembers for about $\ln(1/\epsilon)/(1-|u|)$ steps.
# - With slopes of at most 1 the upper end is safe for any input. The lower end is not: a silent ReLU makes the gradient
#   exactly 0, and a tanh shrinks it by its slopes.
# - The sign of $u$ leaves the size of the product alone and changes the states, and through them the slopes.
#
# Where it stands, and what holds it:
#
# - Eq. 4: [`through_time.py`](../indrnn_np/analysis/through_time.py);
#   [`test_every_entry_is_the_complex_step_derivative`](../tests/test_through_time.py)
# - the range: [`ranges.py`](../indrnn_np/analysis/ranges.py);
#   [`test_at_its_lag_the_gradient_is_in_the_range_if_and_only_if_u_is`](../tests/test_ranges.py),
#   [`test_both_ends_are_the_outermost_floats_inside_for_every_horizon_up_to_2000`](../tests/test_ranges.py)
# - smaller lags:
#   [`test_with_slope_1_and_1_between_epsilon_and_gamma_every_smaller_lag_is_in_range_too`](../tests/test_ranges.py)
# - the upper end for ReLU and tanh, in [`test_ranges.py`](../tests/test_ranges.py):
#   `test_the_upper_end_for_the_largest_slope_keeps_every_lag_of_every_trajectory_from_exploding`
# - memory: [`test_the_memory_is_the_first_lag_at_which_the_gradient_has_fallen_to_epsilon`](../tests/test_ranges.py)
# - the pictures: [`plots.py`](../indrnn_np/analysis/plots.py); [`test_plots.py`](../tests/test_plots.py)
#
# **Next:** [3. What the bound does not bound](3_what_the_bound_does_not_bound.ipynb): the same $u$, and every other
# gradient.
