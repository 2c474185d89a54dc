"""What depth does to memory: the gradient through a stack of IndRNN layers, lag by lag, and its bound.

    z^l_t = W_l h^{l−1}_t + u_l ⊙ v^l_{t−1} + b_l,   v^l_t = σ(z^l_t),   l = 1 … L,   h^0 = x
    h^l_t = v^l_t   in a plain stack,        h^l_t = h^{l−1}_t + v^l_t   in a residual one

One layer's gradient over k steps is u^k ∏σ': the paper's Eq. 4, which |u| ≤ γ^{1/T} keeps below γ. Through a stack
there are many paths, since a signal may wait in any layer; their number is what Eq. 4 does not show. Let
r_l = sup|σ'| · |u_l|, S_l = sup|σ'|, and let [ζ^k] read the coefficient of ζ^k from a power series. Then, elementwise,

    |∂h^L_T/∂x_{T−k}| ≤ [ζ^k] ∏_{l=L…1} F_l(ζ),      F_l(ζ) = S_l diag(1/(1 − r_l ζ)) |W_l|         plain
                                                     F_l(ζ) = I + S_l diag(1/(1 − r_l ζ)) |W_l|     residual

Proof. z^l_t is felt by v^l_t with slope σ'(z^l_t), then by z^l_{t+1} with weight u_l. So ∂v^l_t/∂h^{l−1}_{t−j} is
diag(u_l^j ∏_{i=t−j…t} σ'(z^l_i)) W_l, at most S_l diag(r_l^j) |W_l| in absolute value, which is [ζ^j] of F_l, plain.
Composing layers sums over all splits k = j_1 + … + j_L of the lag; a sum over splits of products of coefficients is
the coefficient of the product of the series. The residual path adds I at lag 0 to each layer. ∎
Attained where no two paths cancel: every slope at its supremum, u and W not negative (or u not positive throughout,
which only gives each lag the sign (−1)^k; or W_l with signs that factor by neuron).

With one neuron a layer, equal r and W = 1, the product is 1/(1 − rζ)^L, so the kernel is the negative binomial
C(k+L−1, L−1) r^k. Divided by its sum 1/(1−r)^L it is a distribution of the lag with mean L r/(1−r), L times that of
one layer. A residual stack has Σ_j C(L, j) w^j C(k+j−1, j−1) r^k there, for W = w: never less than the plain one, lag
by lag, and I rather than 0 where all neurons are silent.

Entry k of every result here is lag k, from 0. Step t of the equations is row t − 1 of the arrays.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..array_module import Array, namespace
from . import _checks, _shapes


def stack_gradient(W: Sequence[Array], u: Sequence[Array], slopes: Sequence[Array] | None = None,
                   lags: int | None = None, residual: bool = False) -> Array:
    """Return ∂h^L_T/∂x_{T−k} for every lag k: backpropagation through time and depth of N_L cotangents at once.

    Parameters
    ----------
    W, u : lists of (N_l, N_{l−1}) and (N_l,) input and recurrent weights, first layer first; N_0 is the inputs' M
    slopes : list of (T, B, N_l), σ'(z^l_t); slope 1 throughout (linear units, or ReLUs that always fire) where None
    lags : the largest lag K, at most T − 1; None takes T − 1, and is no choice where slopes is None
    residual : whether each layer adds its input to its output; all matrices are square then

    Returns
    -------
    gradient : (K+1, B, N_L, M) entry [k, b, n, m] is ∂h^L_{T,b,n}/∂x_{T−k,b,m}; B is 1 where slopes is None

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is not finite; the message names it.
    """
    xp = _shapes.stack(W, u, slopes, residual, optional=("slopes",))
    K = _largest_lag(slopes, lags)
    if slopes is None:
        slopes = [xp.ones((K + 1, 1, len(v)), v.dtype) for v in u]
    (T, B, N), M = slopes[-1].shape, W[0].shape[1]

    gradient = xp.empty((K + 1, B, N, M), u[0].dtype)
    dz = [xp.zeros((B, N, len(v)), v.dtype) for v in u]                   # of each layer, one step later
    with np.errstate(all="ignore"):  # what explodes becomes inf in silence, as IEEE says
        for k in range(K + 1):
            dh = xp.zeros((B, N, N), u[0].dtype)
            if k == 0:
                dh += xp.eye(N, dtype=dh.dtype)                           # ∂h^L_T/∂h^L_T
            for i in reversed(range(len(W))):                            # i = l − 1
                s = slopes[i][T - 1 - k][:, None]
                dz[i] = xp.where(s == 0, 0, s * (dh + u[i] * dz[i]))      # a slope of 0 selects: never 0 · inf
                dh = dh + dz[i] @ W[i] if residual else dz[i] @ W[i]      # from h^l down to h^{l−1}
            gradient[k] = dh
    return gradient


def stack_bound(W: Sequence[Array], u: Sequence[Array], lags: int, slope: float | Sequence[float] = 1.0,
                residual: bool = False) -> Array:
    """Bound |∂h^L_T/∂x_{T−k}| for every lag k and every input: the coefficients of the product above.

    Rounded outward, so that |stack_gradient| ≤ stack_bound holds for the floating-point results, underflow apart.

    Parameters
    ----------
    W, u, residual : as in `stack_gradient`
    lags : the largest lag K
    slope : sup|σ'|, one number or one per layer: 1 for ReLU, tanh and identity, ¼ for the sigmoid

    Returns
    -------
    bound : (K+1, N_L, M); inf where it overflows

    Raises
    ------
    TypeError, ValueError
        As `stack_gradient`; also where slope is negative.
    """
    xp = _shapes.stack(W, u, None, residual, optional=("slopes",))
    K, M, dtype = _checks.whole("lags", lags, least=0), W[0].shape[1], W[0].dtype
    S = [dtype.type(s) for s in _slope_per_layer(slope, len(W))]
    once = 2 * sum(sum(w.shape) + 4 for w in W)   # roundings of a path at lag 0, of a bound and a gradient; 6 a lag

    bound = xp.empty((K + 1, len(W[-1]), M), dtype)
    v = [xp.zeros((len(w), M), dtype) for w in W]
    with np.errstate(all="ignore"):
        for k in range(K + 1):
            F = xp.eye(M, dtype=dtype) if k == 0 else xp.zeros((M, M), dtype)
            for i, w in enumerate(W):
                v[i] = S[i] * abs(u[i])[:, None] * v[i] + S[i] * (abs(w) @ F)
                F = F + v[i] if residual else v[i]
            F = F * dtype.type(1 + (once + 6 * k) * float(np.finfo(dtype).eps))
            bound[k] = xp.where(xp.isnan(F), math.inf, F)                 # 0 · inf, after an overflow
    return bound


def log_stack_kernel(layers: int, r: float, lag: int | Array) -> Array:
    """Return log C(k+L−1, L−1) + k log r: the kernel of L layers of one neuron, r = sup|σ'|·|u|, W = 1.

    The logarithm, since the kernel itself leaves the range of floats: `np.exp` of it where it does not.

    Parameters
    ----------
    layers : L
    r : number of at least 0
    lag : whole number of at least 0, or array of them, k

    Returns
    -------
    log_kernel : float64, of the shape of lag

    Raises
    ------
    TypeError, ValueError
        An argument is not such a number; the message names it.
    """
    L, r = _checks.whole("layers", layers), _checks.number("r", r)
    k = _checks.reals("lag", lag)
    xp = namespace(k)
    if (k % 1 != 0).any():
        raise TypeError(f"lag: expected whole numbers; got {k[k % 1 != 0][0]}.")
    log_paths = xp.zeros(k.shape)
    for j in range(1, L):                                                 # C(k+L−1, L−1) = ∏_{j<L} (k+j)/j
        log_paths += xp.log1p(k / j)
    log_r = math.log(r) if r > 0 else -math.inf
    return log_paths + xp.where(k == 0, 0.0, xp.maximum(k, 1) * log_r)    # r⁰ = 1, for r = 0 too


def stack_kernel_peak(layers: int, r: float) -> float:
    """Return the lag at which C(k+L−1, L−1) r^k is largest, the later one of two equals: ⌊r(L−1)/(1−r)⌋.

    Successive values have the ratio r(k+L−1)/k, which falls with k and is at least 1 up to there. It is 0 for a single
    layer with r < 1, and inf where the kernel never falls (r > 1, or r = 1). Exact: the floor is of a rational number.

    Parameters
    ----------
    layers, r : as in `log_stack_kernel`

    Returns
    -------
    lag : a whole number, or inf

    Raises
    ------
    TypeError, ValueError
        As `log_stack_kernel`.
    """
    L, r = _checks.whole("layers", layers), _checks.number("r", r)
    return math.inf if r >= 1 else math.floor(Fraction(r) * (L - 1) / (1 - Fraction(r)))


def stack_weight_limit(layers: int, steps: int, gamma: float = 2.0, every_lag: bool = False,
                       dtype: Any = np.float64) -> float:
    """Return the largest r = sup|σ'|·|u| with which L layers of unit weights keep their kernel at most γ.

    By default at one lag, as the paper's range does: r^k C(k+L−1, L−1) ≤ γ at k = `steps`. One layer then has γ^{1/k},
    whose smaller lags need no second look. With more layers they do: the kernel rises to its peak first, so the
    limit at one lag permits much more than γ before it. `every_lag` holds all lags from 0 to `steps` down, which is
    decided by the peak, since the kernel has one, and soon does not depend on `steps`. Other weights: W = w in every
    layer scales the kernel by w^L, so ask for γ/w^L.

    Rounded inward: the float returned satisfies the condition in exact arithmetic; the next one does not, to 50 digits.

    Parameters
    ----------
    layers : L
    steps : lag between input and state: T − 1 from x_1 to h_T
    gamma : largest gradient, above 0; at least 1 with every_lag, since lag 0 has gradient 1 whatever r is
    every_lag : whether smaller lags count too
    dtype : float32 or float64, that of the recurrent weight that it will bound

    Returns
    -------
    r : a number that the dtype has

    Raises
    ------
    TypeError, ValueError
        An argument is not such a number; the message names it.
    """
    L, T = _checks.whole("layers", layers), _checks.whole("steps", steps)
    gamma, number = _checks.number("gamma", gamma, above_zero=True), _checks.real_dtype(dtype).type
    if _checks.flag("every_lag", every_lag) and gamma < 1:
        raise ValueError(f"gamma: expected at least 1, the gradient at lag 0; got {gamma}.")

    def permitted(r: np.floating) -> bool:
        return np.isfinite(r) and _kernel_is_at_most(gamma, L, _worst_lag(L, float(r), T) if every_lag else T, float(r))

    k = np.arange(1, T + 1) if every_lag else np.array([T])
    estimate = np.exp(((math.log(gamma) - log_stack_kernel(L, 1.0, k)) / k).min())
    r = number(min(estimate, float(np.finfo(dtype).max)))
    while not permitted(r):
        r = np.nextafter(r, number(0))
    with np.errstate(over="ignore"):  # above the largest float comes inf, which is not permitted
        while permitted(above := np.nextafter(r, number(math.inf))):
            r = above
    return float(r)


def _worst_lag(layers: int, r: float, steps: int) -> int:
    """Return the lag from 0 to `steps` at which the kernel is largest."""
    return int(min(stack_kernel_peak(layers, r), steps))


def _kernel_is_at_most(gamma: float, layers: int, lag: int, r: float) -> bool:
    """Whether C(k+L−1, L−1) r^k ≤ γ, in 60 digits rounded up throughout: a yes is exact."""
    with decimal.localcontext(decimal.Context(prec=60, rounding=decimal.ROUND_CEILING, Emax=decimal.MAX_EMAX,
                                              Emin=decimal.MIN_EMIN, traps=[])) as context:
        value, square = context.create_decimal(math.comb(lag + layers - 1, layers - 1)), decimal.Decimal(r)
        while lag:
            if lag & 1:
                value *= square
            square, lag = square * square, lag >> 1
        return value <= decimal.Decimal(gamma)


def _largest_lag(slopes: Sequence[Array] | None, lags: int | None) -> int:
    if slopes is None:
        if lags is None:
            raise ValueError("lags: expected the largest lag, since without slopes there is no T; got None.")
        return _checks.whole("lags", lags, least=0)
    T = len(slopes[0])
    K = T - 1 if lags is None else _checks.whole("lags", lags, least=0)
    if K >= T:
        raise ValueError(f"lags: expected at most {T - 1}, as slopes have {T} steps; got {K}.")
    return K


def _slope_per_layer(slope: float | Sequence[float], layers: int) -> list[float]:
    given = list(slope) if isinstance(slope, list | tuple) else [slope] * layers
    if len(given) != layers:
        raise ValueError(f"slope: expected one number or {layers}, one per layer; got {len(given)}.")
    return [_checks.number("slope", s) for s in given]
