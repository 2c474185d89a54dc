"""Which |u| keeps a gradient over T steps, which lets it explode, and how long a given u remembers.

On a trajectory with the slopes σ'_1 … σ'_k along a lag of k steps, and P = ∏ |σ'_j| > 0, Eq. 4 says

    ε ≤ |∂h_T/∂h_{T−k}| ≤ γ      ⟺      (ε / P)^{1/k} ≤ |u| ≤ (γ / P)^{1/k}               (Li et al. 2018, §3.1)

Proof: the gradient is |u|^k P, and the k-th root rises. ∎  Where P = 0 the gradient is 0 for every u: none keeps ε > 0,
none explodes.

What this says about smaller lags. If the slope is 1 throughout and ε ≤ 1 ≤ γ, the range for lag T serves every lag
k ≤ T: |u|^k lies between |u|^T and 1. If |σ'| ≤ L throughout, |u| ≤ γ^{1/T} / L with γ ≥ 1 still keeps every lag from
exploding: (L|u|)^k ≤ γ^{k/T} ≤ γ. Other trajectories promise nothing: 50 slopes of .01 and then 50 of 1 permit
|u| = 10.07 at lag 100, and at lag 50 the gradient is then 1.4e50.

What it never says: how large h, ∂h_T/∂u or a gradient summed over many losses become. It bounds ∂h_T/∂h_k alone.

Ends. The first paper states both ranges closed (≥ ε, ≤ γ); Table 1 of the follow-up (arXiv 1910.06251) has long-term
memory strict (> ε), short-term ≤ ε, and not exploding ≤ γ. The ranges here are closed; `classify` follows Table 1.
The two differ where the gradient is ε exactly.

Rounding. The nearest float to 2^{1/T}, raised to T, exceeds 2 for 1037 of the first 2000 T. The ends returned are the
outermost floats *inside* the range, decided in whole numbers (`_exact`), for any T: |u|^T P ≤ γ holds for `high` and
fails for the next float above it; |u|^T P ≥ ε holds for `low` and fails for the next below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..array_module import Array, namespace, to_numpy
from . import _checks, _exact
from ._exact import Enclosure

Number: TypeAlias = Callable[[int], Enclosure]

LONG_TERM, SHORT_TERM, EXPLODING = "long-term", "short-term", "exploding"


def recurrent_weight_range(steps: int, epsilon: float = 0.0, gamma: float = 2.0, slope: float = 1.0,
                           dtype: Any = np.float64) -> tuple[Any, Any]:
    """Find the |u| for which ε ≤ (slope · |u|)^steps ≤ γ (Li et al. 2018, §3.1; follow-up, Table 1).

    With slope = sup |σ'| the upper end keeps every trajectory from exploding, and below the lower end every
    trajectory forgets. With slope = the geometric mean of |σ'| along a trajectory, both ends are that trajectory's.

    Parameters
    ----------
    steps : whole number above 0, the lag T
    epsilon : smallest gradient that counts; 0 leaves the lower end at 0
    gamma : largest tolerable gradient, at least epsilon; inf leaves the upper end at inf
    slope : number of at least 0, the geometric mean of |σ'|
    dtype : float32 or float64, that of the u which is to be held inside

    Returns
    -------
    (low, high) : of |u|, numbers of that dtype. The range is empty where low > high (no float lies between the
        ends) or where low = inf (no finite u keeps ε, as at slope = 0); high = inf: every u will do

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """
    T, (ε, γ) = _checks.whole("steps", steps), _checks.bounds(epsilon, gamma)
    s = _checks.number("slope", slope)

    def P(bits: int) -> Enclosure:
        return _exact.power(_exact.exactly(s), T, bits)

    return _range(T, P, T * _log(s), ε, γ, _checks.real_dtype(dtype))


def range_of_slopes(slopes: Array, epsilon: float = 0.0, gamma: float = 2.0,
                    dtype: Any = None) -> tuple[Array, Array]:
    """Find the |u| for which ε ≤ |u|^k ∏|σ'| ≤ γ, on each trajectory by itself (Li et al. 2018, §3.1).

    The slopes are taken as the numbers they are. Each neuron of each sequence is decided by itself, in whole numbers,
    on the CPU: CuPy arrays are copied there, and the result is copied back.

    Parameters
    ----------
    slopes : (k, B, N) σ' along the lag, such as the last k rows of `slopes(trace)`
    epsilon, gamma : as in `recurrent_weight_range`
    dtype : float32 or float64; None takes that of slopes

    Returns
    -------
    (low, high) : (B, N) each, of |u|, as in `recurrent_weight_range`; where a slope is 0, low is inf (0 if epsilon
        is 0) and high is inf

    Raises
    ------
    TypeError, ValueError
        An argument is no such number, or slopes is no (k, B, N) array of finite real numbers; the message names it.
    """
    ε, γ = _checks.bounds(epsilon, gamma)
    size = abs(to_numpy(_checks.reals("slopes", slopes, signed=True)))
    if size.ndim != 3:
        raise ValueError("slopes: expected shape (k, B, N), a row per step of the lag, at least one of each; "
                         f"got {size.shape}.")
    kind = _checks.real_dtype(slopes.dtype if dtype is None else dtype)
    k, B, N = size.shape
    low, high = np.empty((B, N), kind), np.empty((B, N), kind)
    for index in np.ndindex(B, N):
        factors = size[:, *index].tolist()
        P = _once(factors)
        low[index], high[index] = _range(k, P, sum(map(_log, factors)), ε, γ, kind)
    xp = namespace(slopes)
    return xp.asarray(low), xp.asarray(high)


def memory_length(u: Any, epsilon: float, slope: Any = 1.0) -> Any:
    """Count the steps until the gradient has fallen to ε: the first lag k with (slope · |u|)^k ≤ ε.

    It is log ε / log(slope · |u|), rounded up to a whole step in exact arithmetic; 0 where ε ≥ 1, 1 where u = 0 and
    ε < 1, and inf where the gradient never falls to ε: at slope · |u| ≥ 1, and for ε = 0.

    Parameters
    ----------
    u : number or array of any shape
    epsilon : number of at least 0, the smallest gradient that counts
    slope : number of at least 0, or array that broadcasts with u: the geometric mean of |σ'|

    Returns
    -------
    float, or a float64 array with the shape of u and slope together: whole numbers, or inf. CuPy arrays are copied to
        the CPU, which has the exact arithmetic, and the result is copied back

    Raises
    ------
    TypeError, ValueError
        An argument is not finite and real; the message names it.
    """
    ε = _checks.number("epsilon", epsilon)
    return _elementwise(lambda factor, rate: _steps_until(ε, factor, rate), u, slope, np.float64)


def classify(u: Any, steps: int, epsilon: float, gamma: float = 2.0, slope: Any = 1.0) -> Any:
    """Say what a weight does to the gradient over so many steps (follow-up, Table 1), in exact arithmetic.

    "exploding" where (slope · |u|)^steps > γ, else "long-term" where it is > ε, else "short-term". At ε exactly it is
    short-term, as Table 1 has it, though the closed range of `recurrent_weight_range` contains it.

    Parameters
    ----------
    u : number or array of any shape
    steps, epsilon, gamma : as in `recurrent_weight_range`
    slope : number of at least 0, or array that broadcasts with u: the geometric mean of |σ'|

    Returns
    -------
    str, or a NumPy array of str with the shape of u and slope together, for CuPy arrays too, which are copied

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """
    T, (ε, γ) = _checks.whole("steps", steps), _checks.bounds(epsilon, gamma)

    def kind(factor: float, rate: float) -> str:
        def gradient(bits: int) -> Enclosure:
            return _exact.power(_exact.product((factor, rate), bits), T, bits)
        if γ < math.inf and _exact.side(gradient, γ) > 0:
            return EXPLODING
        return LONG_TERM if _exact.side(gradient, ε) > 0 else SHORT_TERM

    return _elementwise(kind, u, slope, np.str_)


def _range(T: int, P: Number, log_P: float, ε: float, γ: float, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and the largest float with ε ≤ |u|^T P ≤ γ; log_P only says where the search begins."""
    last = _exact.ordinal(math.inf, dtype)
    if log_P == -math.inf:
        return dtype.type(math.inf if ε > 0 else 0), dtype.type(math.inf)

    def compare(n: int, bound: float) -> int:
        u = _exact.exactly(float(_exact.numbered(n, dtype)))
        return _exact.side(lambda bits: _exact.times(_exact.power(u, T, bits), P(bits), bits), bound)

    def guess(bound: float) -> int:
        return _exact.ordinal(math.exp(min(max((_log(bound) - log_P) / T, -745.0), 709.0)), dtype)

    low = _exact.first(lambda n: n == last or compare(n, ε) >= 0, guess(ε), last) if ε > 0 else 0
    high = _exact.first(lambda n: n == last or compare(n, γ) > 0, guess(γ), last) - 1 if γ < math.inf else last
    return _exact.numbered(low, dtype), _exact.numbered(high, dtype)


def _once(factors: list[float]) -> Number:
    """Return the product of the factors as an enclosure of so many bits, each formed once."""
    known: dict[int, Enclosure] = {}

    def P(bits: int) -> Enclosure:
        if bits not in known:
            known[bits] = _exact.product(factors, bits)
        return known[bits]

    return P


def _steps_until(ε: float, factor: float, rate: float) -> float:
    """Return the first k with (factor · rate)^k ≤ ε."""
    if ε >= 1:
        return 0.0
    if factor == 0 or rate == 0:
        return 1.0
    if ε == 0 or _exact.side(lambda bits: _exact.product((factor, rate), bits), 1.0) >= 0:
        return math.inf
    log = math.log(factor) + math.log(rate)
    return float(_exact.first(
        lambda k: _exact.side(lambda bits: _exact.power(_exact.product((factor, rate), bits), k, bits), ε) <= 0,
        guess=math.ceil(math.log(ε) / log) if log < 0 else 1,
        limit=1 << 128))  # rates below 1 fall short of it by 2^−106 at least, and log ε > −745


def _elementwise(f: Callable[[float, float], Any], u: Any, slope: Any, dtype: Any) -> Any:
    """Apply f to |u| and slope, broadcast together; a number gives a number."""
    xp = _checks.library(u=u, slope=slope)
    size, rate = abs(to_numpy(_checks.reals("u", u, signed=True))), to_numpy(_checks.reals("slope", slope))
    _checks.together(u=size, slope=rate)
    size, rate = np.broadcast_arrays(size, rate)
    results = [f(*pair) for pair in zip(size.ravel().tolist(), rate.ravel().tolist(), strict=True)]
    if not size.ndim and xp is np:
        return results[0]
    here = np.asarray(results, dtype).reshape(size.shape)
    return here if dtype is np.str_ else xp.asarray(here)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
