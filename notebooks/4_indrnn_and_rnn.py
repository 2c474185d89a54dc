# %% [markdown]
# # 4. A linear RNN is two IndRNN layers, and its eigenvalues do not say what its gradient does
#
# An RNN has a matrix $U$ where an IndRNN has a vector $u$ (Eq. 1 and 2). Section 4 of the paper shows that, without
# activations, two IndRNN layers are any RNN with a diagonalizable $U$. You will see that round trip in numbers, why it
# needs complex weights, what a matrix does that no vector can (its powers grow before they decay), and how far back the
# gradients of RNN, IRNN, LSTM, GRU and IndRNN reach before anything is trained.
#
# It needs NumPy, matplotlib and linear algebra up to eigenvectors, and runs in under half a minute.

# %%
import matplotlib.pyplot as plt
import numpy as np

import indrnn_np as ir
from indrnn_np import analysis, nn

plt.style.use("book.mplstyle")
eps = np.finfo(float).eps / 2                                    # unit roundoff

# %% [markdown]
# ## There and back: W, U → two layers → W, U
#
# Two layers without activation, the second without recurrence (Eq. 5 and 6):
#
# $$h_{f,t} = W_f x_t + u_f \odot h_{f,t-1}, \qquad h_{s,t} = W_s h_{f,t}.$$
#
# With $W_s$ invertible, $h_{s,t} = W_s W_f x_t + W_s\,\mathrm{diag}(u_f)\,W_s^{-1} h_{s,t-1}$, a linear RNN with
# $W = W_s W_f$ and $U = W_s\,\mathrm{diag}(u_f)\,W_s^{-1}$ (Eq. 7 to 9). Read from right to left it is an
# eigendecomposition: $u_f$ has the eigenvalues of $U$, $W_s$ its eigenvectors.
#
# From this Section 4 concludes, in our words: a linear RNN whose $U$ is diagonalizable *is* a two-layer IndRNN whose
# second layer has the recurrent weight 0. It does not say whether the weights are real. We come back to that.

# %% tags=["varies"]
rng = np.random.default_rng(0)
N, M, T = 6, 3, 50
U = rng.standard_normal((N, N))
U *= 0.95 / analysis.spectral_radius(U)
W = rng.standard_normal((N, M))

layers = analysis.rnn_as_indrnn(W, U)
W_back, U_back = analysis.indrnn_as_rnn(*layers)
print("u_f =", np.array2string(layers.u_f, precision=2, suppress_small=True))
print(f"largest difference: W {abs(W_back - W).max():.0e}, U {abs(U_back - U).max():.0e}")
print(f"condition number of W_s: {layers.condition:.1f}")
# Eigenvectors, a solution and a product: backward errors below N(N + 4)·eps each, amplified by the condition number.
allowed = 3 * N * (N + 4) * eps * layers.condition
assert np.linalg.norm(U_back - U, 2) <= allowed * np.linalg.norm(U, 2)
assert np.linalg.norm(W_back - W, 2) <= allowed * np.linalg.norm(W, 2)

# %% [markdown]
# The states agree too, step by step, from any initial state. The RNN is four lines of its own here; the two layers run
# on the package's recurrence. And a count: with its biases, the RNN has $MN + N^2 + N$ numbers, the two layers
# $MN + N^2 + 4N$.

# %% tags=["varies"]
x, h0 = rng.standard_normal((T, 2, M)), rng.standard_normal((2, N))
h, states = h0, []
for x_t in x:
    h = x_t @ W.T + h @ U.T
    states.append(h)

difference = abs(analysis.run_two_layers(x, layers, h0) - np.array(states)).max()
print(f"largest |h|: {abs(np.array(states)).max():.1f}, largest difference over {T} steps: {difference:.0e}")
for kind, count in (("rnn", 1), ("indrnn", 2)):
    print(f"{kind}, {count} layer{'s' * (count > 1)}: {analysis.parameter_count(kind, M, N, layers=count)} parameters")

# %% [markdown]
# ## Why complex: no real u is a rotation
#
# Most real matrices have complex eigenvalues, and then $u_f$ is complex, as above. That is no accident of the method.
# $U$ turning the plane by an angle $\theta$ each step makes $\cos\theta t$ and $\sin\theta t$ out of one impulse, for
# ever. Real neurons make $u^t$, which decays, grows, stays or alternates. A complex pair $u = e^{\pm i\theta}$ is a
# rotation exactly.
#
# **Predict:** eight real neurons, $u$ spread evenly over $[-1, 1]$, their readout fitted to 41 steps: how well do they
# follow?

# %%
θ, steps, K = 1.2, np.arange(41), 8
rotation = np.exp(1j * θ * steps)                                # first column of the rotation, as points in the plane
impulse = np.zeros((len(steps), 1, 1), complex)
impulse[0] = 1
two = np.exp([1j * θ, -1j * θ])
pair = ir.forward(impulse, np.ones((2, 1), complex), two, activation="identity").h[:, 0]

real = np.linspace(-1, 1, K)                                     # u of eight real neurons
responses = ir.forward(impulse.real, np.ones((K, 1)), real, activation="identity").h[:, 0]  # real^t
fit = responses @ np.linalg.lstsq(responses.astype(complex), rotation, rcond=None)[0]

fig, ax = plt.subplots()
ax.plot(steps, rotation.real, "o", color="0.5", ms=5, label=r"rotation, $\cos\theta t$")
ax.plot(steps, pair.mean(axis=1).real, label="two complex neurons")
ax.plot(steps, fit.real, label="eight real neurons, best readout")
ax.set(xlabel="step t after the impulse", ylabel="first coordinate", ylim=(-1.3, 1.9),
       title="Two complex neurons turn for ever; eight real ones do not follow 41 steps")
ax.legend(loc="upper right", ncols=2, fontsize=10)
plt.show()

# %% [markdown]
# There is a theorem behind the picture: for *any* $K$ real linear neurons in any number of layers, skip connections
# included, every $K + 1$ successive steps after the impulse's own contain one with an error of at least
# `rotation_gap`. So the statement of Section 4, that a linear RNN with a diagonalizable $U$ is a two-layer IndRNN, is
# true of complex weights, and not of real ones. Perturbing $U$ does not help, since matrices near one with complex
# eigenvalues have them too. (Given as many real neurons as steps, anything can be fitted, over those steps.)

# %%
errors = abs(fit - rotation)[1:]
windows = np.lib.stride_tricks.sliding_window_view(errors, K + 1).max(axis=1)
gap = analysis.rotation_gap(θ, K)
assert (windows >= gap).all()
print(f"largest error in every {K + 1} steps: at least {windows.min():.2f}; the theorem, for any weights: {gap:.3f}")
for neurons in (1, 2, 4, 8, 16):
    print(f"{neurons:3} real neurons, quarter turns: error of at least {analysis.rotation_gap(np.pi / 2, neurons):.4f}")
# Each power is a product of numbers of modulus 1: at most four roundings a step, and those of e^{iθt} itself.
assert abs(pair[:, 0] - rotation).max() <= (4 * len(steps) + len(steps) * θ + 4) * eps

# %% [markdown]
# ## The price where eigenvectors coincide
#
# A Jordan block, say $U = \frac12 I + $ a diagonal of ones above, has one eigenvector only: no $W_s$ exists. The paper
# perturbs $U$ a little. The smaller the perturbation, the worse conditioned $W_s$, so rounding errors take over what
# the perturbation saves.

# %% tags=["varies"]
sizes = np.geomspace(1e-15, 1e-3, 25)
fig, ax = plt.subplots()
best = {}
for n in (2, 3, 4):
    found = analysis.perturbation_errors(0.5 * np.eye(n) + np.eye(n, k=1), sizes)
    best[n] = found.min()
    ax.loglog(sizes, found, label=f"block of size {n}")
ax.set(xlabel=r"size of the perturbation, $\|\delta U\| / \|U\|$", ylabel="relative error of the states",
       title="Perturbing a Jordan block costs five to seven digits of sixteen")
ax.legend()
plt.show()
print("least error:", ", ".join(f"size {n}: {e:.0e}" for n, e in best.items()), f"   (eps = {2 * eps:.0e})")

# %% [markdown]
# No digit need be lost: by the Schur form $U = QTQ^*$ every RNN is a *dense* stack of one-neuron IndRNN layers, each
# fed by those before it a step late. $Q$ is unitary, so its condition number is 1. A defective $U$ of size 32:

# %% tags=["varies"]
U32 = 0.5 * np.eye(32) + np.eye(32, k=1)
W32, x32 = rng.standard_normal((32, 3)), rng.standard_normal((20, 1, 3))
h, true = np.zeros((1, 32), np.longdouble), []
for x_t in x32:
    h = x_t @ W32.T.astype(np.longdouble) + h @ U32.T
    true.append(h)
stack = analysis.run_dense_stack(x32, analysis.rnn_as_dense_stack(W32, U32))
error = abs(stack - np.array(true)).max() / abs(np.array(true)).max()
two_layers = analysis.perturbation_errors(U32, sizes).min()
print(f"relative error: dense stack {float(error):.0e}, two layers at the best perturbation {two_layers:.0e}")
assert error < two_layers

# %% [markdown]
# ## Eigenvalues below 1, and powers that grow ten thousandfold
#
# The gradient of a linear RNN over $k$ steps is $U^k$, and that of a linear IndRNN is $u^k$. Take eight eigenvalues,
# all of them 0.8. For the vector, $\|u^k\| = 0.8^k$ from the first step on. For a matrix with the same eigenvalues:
#
# **Predict:** can $\|U^k\|$ exceed 1 at all?

# %%
N, radius = 8, 0.8
chain = radius * np.eye(N) + np.eye(N, k=1)                      # each neuron hands on to the next
lags = np.arange(101)


def norms(U):
    jacobians = np.broadcast_to(U, (lags[-1], 1, *U.shape))
    return analysis.log_norms(analysis.jacobian_products(jacobians))[:, 0] / np.log(10)


growth = analysis.transient_growth(chain, 100)
vector = norms(np.diag(np.full(N, radius)))
assert abs(analysis.spectral_radius(chain) - radius) == 0
assert vector.max() == 0                                         # at lag 0: a diagonal u never grows
print(f"largest power: lag {growth.lag}, norm {np.exp(growth.log_norm):.0f}")
print(f"spectral radius {analysis.spectral_radius(chain)}, norm {np.linalg.norm(chain, 2):.2f}, "
      f"numerical radius {analysis.numerical_radius(chain)[0]:.2f}, "
      f"departure from normality {analysis.departure_from_normality(chain):.2f}")

# %%
radius_w = analysis.numerical_radius(chain)[1]
fig, (ax, plane) = plt.subplots(1, 2, figsize=(9, 4), width_ratios=(1.5, 1))
ax.plot(lags, norms(chain), label=r"$\|U^k\|$")
ax.plot(lags, vector, label=r"$\|\mathrm{diag}(u)^k\| = \rho^k$")
ax.plot(lags[:16], np.log10(2) + lags[:16] * np.log10(radius_w), label=r"$2\,w(U)^k$, never exceeded")
ax.axhline(np.log10(analysis.kreiss_lower_bound(chain)), color="0.6", lw=1)
ax.text(100, np.log10(analysis.kreiss_lower_bound(chain)) + 0.1, "Kreiss: the peak is above", ha="right", fontsize=10)
ax.set(xlabel="lag k (steps)", ylabel=r"$\log_{10}$ of the norm", ylim=(-10, 5.5),
       title=f"Growth by {np.exp(growth.log_norm):.0f} at ρ = 0.8")
ax.legend(loc="lower left", fontsize=10)
boundary = np.append(analysis.numerical_range(chain), analysis.numerical_range(chain)[0])
circle = np.exp(2j * np.pi * np.linspace(0, 1, 200))
plane.plot(circle.real, circle.imag, ":", color="0.5", label="unit circle")
plane.plot(boundary.real, boundary.imag, "-", color="k", label="numerical range")
plane.plot([radius], [0], "kx", label="all eigenvalues")
plane.set(aspect="equal", xlabel="real", ylabel="imaginary", ylim=(-2, 3.2), title="Its range leaves the circle")
plane.legend(fontsize=10)
plt.show()

# %% [markdown]
# What decides is not the eigenvalues alone but how far from orthogonal the eigenvectors are. It holds that
# $\rho(U)^k \le \|U^k\| \le 2\,w(U)^k$, where $w$ is the numerical radius, the largest modulus in the range on the
# right; and the largest power is at least the Kreiss number. For $\mathrm{diag}(u)$ radius, numerical radius and
# norm coincide: this is what makes an IndRNN's gradient readable from $u$. Halve `np.eye(N, k=1)` and run the two cells
# again: the peak is still 120.
#
# It is true of *one* layer. A stack of IndRNN layers is a triangular matrix, far from normal, and grows in the same
# way; the chain above is in fact eight one-neuron layers in disguise, each fed by another a step late. Notebook 3 has
# the numbers.
#
# ## tanh RNN: the product of Jacobians, and the backward pass, are the same numbers
#
# With an activation the gradient is $\prod_t \mathrm{diag}(\sigma'(z_t))\,U$. How far back does it reach in networks
# as they begin? We read $\partial h_T/\partial x_{T-k}$ from the explicit backward passes of the package: with $N$
# copies of one sequence and the identity for a last cotangent, one pass returns the whole Jacobian, exactly.

# %% tags=["varies"]
T, M, N = 400, 8, 32
one = np.random.default_rng(0).standard_normal((T, 1, M))
x = np.repeat(one, N, axis=1)                                    # sequence n has the cotangent of neuron n
dh = np.zeros((T, N, N))
dh[-1] = np.eye(N)

params = nn.RNN(inputs=M, outputs=1, hidden=N).initial(np.random.default_rng(1), T, "float64")[0]["layers"]["0"]
h, backward = nn.baselines.rnn(params, x)
by_backward = backward(dh)[0][::-1]                              # entry k: ∂h_T/∂x_{T−k}, (N, M)

slopes = 1 - h[:, :1] ** 2                                       # of the one sequence, |z| is small
through = analysis.jacobian_products(analysis.rnn_jacobians(params["U"], slopes), lags=T - 1)
scale = np.ldexp(1.0, through.exponent[:, 0])[:, None, None]
by_product = scale * through.scaled[:, 0] @ (slopes[::-1, 0][:, :, None] * params["W"])
relative = np.linalg.norm(by_backward - by_product, axis=(1, 2)) / np.linalg.norm(by_product, axis=(1, 2))
print("relative difference at lags 0, 20, 100, 399:", *(f"{relative[k]:.0e}" for k in (0, 20, 100, 399)))

# %% [markdown]
# ## Only what begins with a memory has one
#
# Seven beginnings, the same input: $\tanh$ RNN with an orthogonal $U$ (every singular value 1), IRNN (ReLU, $U = I$),
# LSTM with forget bias 1, LSTM with gate biases drawn for $T$ (chrono), GRU, and an IndRNN (ReLU) with
# $u$ near 1, from $[0.5^{1/T}, 2^{1/T}]$, or from $[0, 2^{1/T}]$. An LSTM's gradient goes through both of its states.
#
# **Predict the order**, before you run the cell.

# %%
kinds = {"RNN, orthogonal": (nn.RNN, nn.baselines.rnn, {}),
         "IRNN": (nn.IRNN, lambda params, x: nn.baselines.rnn(params, x, "relu"), {}),
         "LSTM, forget bias 1": (nn.LSTM, nn.baselines.lstm, {}),
         "LSTM, chrono": (nn.LSTM, nn.baselines.lstm, {"chrono": True}),
         "GRU": (nn.GRU, nn.baselines.gru, {})}
jacobian = {}
for name, (model, cell, options) in kinds.items():
    first = model(inputs=M, outputs=1, hidden=N, **options).initial(np.random.default_rng(1), T, "float64")[0]
    jacobian[name] = cell(first["layers"]["0"], x)[1](dh)[0][::-1]

W = np.random.default_rng(1).standard_normal((N, M)) / np.sqrt(M)
for name, u in (("IndRNN, u near 1", analysis.long_term_weight(N, T, 0.5, rng=np.random.default_rng(2))),
                ("IndRNN, u from 0", analysis.uniform_weight(N, T, rng=np.random.default_rng(2)))):
    jacobian[name] = ir.backward(dh, ir.forward(x, W, u)).dx[::-1]

size = {name: np.linalg.norm(J, 2, axis=(1, 2)) for name, J in jacobian.items()}
size = {name: norm / norm[0] for name, norm in size.items()}

# %%
fig, ax = plt.subplots(figsize=(7.2, 4.6))
styles = ("-", "--", "-.", ":", (0, (9, 3)), (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)))
places = ((150, 1e-17), (410, 1e-1), (290, 1e-12), (410, 2e-3), (15, 1e-17), (410, 30), (60, 1e3))
for (name, norm), style, place in zip(size.items(), styles, places, strict=True):
    line, = ax.semilogy(np.where(norm > 0, norm, np.nan), ls=style)
    end = np.flatnonzero(norm > 1e-16)[-1]                       # a thin line leads from here to the name
    ax.annotate(name, (end, norm[end]), place, va="center", fontsize=10, color=line.get_color(),
                arrowprops={"arrowstyle": "-", "lw": 0.6, "color": "0.6"})
ax.set(xlabel="lag k (steps)", ylabel=r"$\|\partial h_T/\partial x_{T-k}\|$, lag 0 as 1", xlim=(0, 560),
       ylim=(1e-18, 1e5), title="IRNN, chrono LSTM and IndRNN near 1 reach back; the rest do not")
plt.show()

# %%
print(f"{'lag':24}" + "".join(f"{k:>9}" for k in (1, 20, 100, 399)))
for name, norm in size.items():
    print(f"{name:24}" + "".join(f"{norm[k]:9.0e}" for k in (1, 20, 100, 399)))

# %% [markdown]
# How to read it:
#
# - **RNN**: an orthogonal $U$ keeps every length, but each step multiplies by the slopes of tanh, which are below 1.
# - **LSTM with forget bias 1**: its cell keeps $\sigma(1) = 0.73$ a step where its input is 0; inputs and the paths
#   through $U$ change that, and here it is $3 \cdot 10^{-6}$ after a hundred steps.
# - **LSTM, chrono**: the biases give some cells $f \approx 1 - 1/T$, and such a cell is an IndRNN with $u = f$.
# - **GRU** with biases 0 keeps about a half a step.
# - **IRNN** is, as it begins, an IndRNN with $u = 1$; at lag 399 every neuron has been silent once. The matrix is free
#   to leave $I$ from the first update on.
# - **IndRNN**: $u$ near 1 carries the gradient as long as a neuron fires. With $u$ from $[0, 2^{1/T}]$ few neurons
#   are near 1, and those fall silent somewhere: under a ReLU the gradient is then exactly 0, not small.
#
# This is one input, one draw, at the beginning: that a gradient arrives does not mean that a network learns from it,
# and training moves all of these. Change the seed of `one` and see which statements stay.

# %%
far = 100
reach = [name for name, norm in size.items() if norm[far] > 1e-2]
print(f"above 1 % of lag 0 at lag {far}: {', '.join(reach)}")
assert {"IRNN", "LSTM, chrono"} < set(reach)
assert size["RNN, orthogonal"][far] < 1e-10
assert size["GRU"][far] < 1e-10
assert size["IndRNN, u from 0"][far] == 0                     # exactly: every neuron was silent once since

# %% [markdown]
# ## What was shown
#
# - Two linear IndRNN layers are any linear RNN with a diagonalizable $U$, to rounding times the condition number of its
#   eigenvectors, with complex $u$ where the eigenvalues are complex. No real $u$ is a rotation.
# - A defective $U$ costs digits in two layers and none in a dense stack.
# - Powers of a matrix with all eigenvalues at 0.8 grow 13538-fold before they decay; those of
#   $\mathrm{diag}(u)$ do not.
# - At the beginning, gradients over 100 steps arrive in an IRNN, a chrono LSTM and an IndRNN with $u$ near 1, and not
#   in an orthogonal tanh RNN, an LSTM with forget bias 1, or a GRU.
#
# Where it stands, and what holds it:
#
# - Section 4, rotation: [equivalence](../indrnn_np/analysis/equivalence.py),
#   [test_equivalence](../tests/test_equivalence.py)
# - Schur form and perturbation: [schur](../indrnn_np/analysis/schur.py), [test_schur](../tests/test_schur.py)
# - products of Jacobians: [dense](../indrnn_np/analysis/dense.py), [test_dense](../tests/test_dense.py)
# - radii, range, growth: [non_normality](../indrnn_np/analysis/non_normality.py),
#   [test_non_normality](../tests/test_non_normality.py)
# - a stack is triangular: [lyapunov](../indrnn_np/analysis/lyapunov.py), [test_lyapunov](../tests/test_lyapunov.py)
# - RNN, LSTM, GRU: [baselines](../indrnn_np/nn/baselines), [test_nn_cells](../tests/test_nn_cells.py),
#   [test_nn_baselines](../tests/test_nn_baselines.py)
#
# Next: [5. Long memory](5_long_memory.ipynb), where such networks are trained.
