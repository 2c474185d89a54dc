"""The baselines' cells, one sequence and one step at a time, with running errors: what `nn.baselines` must compute.

Each takes the parameters and a list of x_t (M,), and returns the list of h_t (N,) and backward, which takes the list of
dh_t to the list of dx_t and, by parameter, two lists of which the gradient is the sum of outer products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from running_error import Rounded, concatenate, stack

Params = dict[str, Rounded]
Rows = list[Rounded]
Terms = dict[str, tuple[Rows, Rows]]
Cell = Callable[[Params, Rows], tuple[Rows, Callable[[Rows], tuple[Rows, Terms]]]]


def rnn(p: Params, x: Rows, activation: str = "tanh") -> tuple[Rows, Callable[[Rows], tuple[Rows, Terms]]]:
    h = [_zeros(p["U"])]
    for x_t in x:
        h.append(getattr(p["W"] @ x_t + p["U"] @ h[-1] + p["b"], activation)())

    def backward(dh: Rows) -> tuple[Rows, Terms]:
        dz = [_zeros(p["U"])]
        for t in reversed(range(len(x))):
            h_t = h[t + 1]
            slope = 1.0 - h_t * h_t if activation == "tanh" else _constant(h_t, h_t.value > 0)
            dz.insert(0, slope * (dh[t] + p["U"].T @ dz[0]))
        return _gradients(p, x, dz[:-1], dz[:-1], h[:-1])

    return h[1:], backward


def irnn(p: Params, x: Rows) -> tuple[Rows, Callable[[Rows], tuple[Rows, Terms]]]:
    return rnn(p, x, "relu")


def lstm(p: Params, x: Rows) -> tuple[Rows, Callable[[Rows], tuple[Rows, Terms]]]:
    N = p["U"].value.shape[1]
    h, c, gates = [_zeros(p["U"])], [_zeros(p["U"])], []
    for x_t in x:
        z = p["W"] @ x_t + p["U"] @ h[-1] + p["b"]
        i, f, o, g = z[:N].logistic(), z[N:2 * N].logistic(), z[2 * N:3 * N].logistic(), z[3 * N:].tanh()
        c.append(f * c[-1] + i * g)
        h.append(o * c[-1].tanh())
        gates.append((i, f, o, g))

    def backward(dh: Rows) -> tuple[Rows, Terms]:
        dz, from_later = [], _zeros(p["U"])
        H = dh[-1]
        for t in reversed(range(len(x))):
            i, f, o, g = gates[t]
            s = c[t + 1].tanh()
            C = o * (1.0 - s * s) * H + from_later
            dz.insert(0, concatenate([i * (1.0 - i) * g * C, f * (1.0 - f) * c[t] * C,
                                      o * (1.0 - o) * s * H, (1.0 - g * g) * i * C]))
            from_later = f * C
            H = dh[t - 1] + p["U"].T @ dz[0]
        return _gradients(p, x, dz, dz, h[:-1])

    return h[1:], backward


def gru(p: Params, x: Rows) -> tuple[Rows, Callable[[Rows], tuple[Rows, Terms]]]:
    N = p["U"].value.shape[1]
    h, gates = [_zeros(p["U"])], []
    for x_t in x:
        a, fed_back = p["W"] @ x_t + p["b"], p["U"] @ h[-1]
        r, k = (a[:N] + fed_back[:N]).logistic(), (a[N:2 * N] + fed_back[N:2 * N]).logistic()
        m = fed_back[2 * N:] + p["b_n"]
        n = (a[2 * N:] + r * m).tanh()
        h.append((1.0 - k) * n + k * h[-1])
        gates.append((r, k, m, n))

    def backward(dh: Rows) -> tuple[Rows, Terms]:
        da, dp = [], []
        H = dh[-1]
        for t in reversed(range(len(x))):
            r, k, m, n = gates[t]
            da_n = H * (1.0 - k) * (1.0 - n * n)
            both = [da_n * m * r * (1.0 - r), H * (h[t] - n) * k * (1.0 - k)]
            da.insert(0, concatenate([*both, da_n]))
            dp.insert(0, concatenate([*both, da_n * r]))
            H = dh[t - 1] + p["U"].T @ dp[0] + k * H
        dx, terms = _gradients(p, x, da, dp, h[:-1])
        return dx, terms | {"b_n": ([row[2 * N:] for row in dp], _ones(dp))}

    return h[1:], backward


def run(cell: Cell, params: dict[str, Any], x: np.ndarray, dh: np.ndarray, lengths: np.ndarray,
        unit: float) -> dict[str, Rounded]:
    """Return h, dx and the gradients of one layer, each sequence by itself, cut to its length."""
    p = {name: Rounded(value, unit) for name, value in params.items()}
    h, dx = _nothing(dh.shape, unit), _nothing(x.shape, unit)
    total: Terms = {name: ([], []) for name in p}
    for b, length in enumerate(lengths):
        rows, backward = cell(p, _rows(x[:length, b], unit))
        d_rows, terms = backward(_rows(dh[:length, b], unit))
        h.put((slice(length), b), stack(rows))
        dx.put((slice(length), b), stack(d_rows))
        _add(total, terms)
    return {"h": h, "dx": dx} | {"d" + name: _sum(name, *terms) for name, terms in total.items()}


def run_model(cell: Cell, flat: dict[str, Any], x: np.ndarray, dy: np.ndarray, lengths: np.ndarray,
              unit: float) -> dict[str, Rounded]:
    """Return y, x's gradient and those of the parameters of a stack with a readout; dy tells which readout."""
    p = {name: Rounded(value, unit) for name, value in flat.items()}
    layers = [{name.rpartition("/")[2]: v for name, v in p.items() if name.startswith(f"layers/{n}/")}
              for n in range(sum(name.endswith("/U") for name in p))]
    W, bias = p["readout/W"], p["readout/b"]
    y, dx = _nothing(dy.shape, unit), _nothing(x.shape, unit)
    total: Terms = {name: ([], []) for name in p}
    for b, length in enumerate(lengths):
        rows, pulls = _rows(x[:length, b], unit), []
        for its in layers:
            rows, pull = cell(its, rows)
            pulls.append(pull)
        if dy.ndim == 2:
            y.put(b, W @ rows[-1] + bias)
            d_read, read = _rows(dy[b:b + 1], unit), rows[-1:]
            d_rows = [_zeros(W)] * (length - 1) + [W.T @ d_read[0]]
        else:
            y.put((slice(length), b), stack([W @ row + bias for row in rows]))
            d_read, read = _rows(dy[:length, b], unit), rows
            d_rows = [W.T @ row for row in d_read]
        _add(total, {"readout/W": (d_read, read), "readout/b": (d_read, _ones(d_read))})
        for n in reversed(range(len(layers))):
            d_rows, terms = pulls[n](d_rows)
            _add(total, {f"layers/{n}/{name}": its for name, its in terms.items()})
        dx.put((slice(length), b), stack(d_rows))
    return {"y": y, "x": dx} | {name: _sum(name, *terms) for name, terms in total.items()}


def _rows(array: np.ndarray, unit: float) -> Rows:
    return [Rounded(row, unit) for row in array]


def _nothing(shape: tuple[int, ...], unit: float) -> Rounded:
    return Rounded(np.zeros(shape), unit, np.zeros(shape))


def _add(total: Terms, terms: Terms) -> None:
    for name, (left, right) in terms.items():
        total[name][0].extend(left)
        total[name][1].extend(right)


def _sum(name: str, left: Rows, right: Rows) -> Rounded:
    """Return the sum of outer products; for a bias, of the left ones."""
    products = stack(left).T @ stack(right)
    return products[:, 0] if name.endswith(("b", "b_n")) else products


def _gradients(p: Params, x: Rows, da: Rows, dp: Rows, h_prev: Rows) -> tuple[Rows, Terms]:
    """Return dx, and the terms of dW, dU and db."""
    return [p["W"].T @ row for row in da], {"W": (da, x), "U": (dp, h_prev), "b": (da, _ones(da))}


def _zeros(U: Rounded) -> Rounded:
    return Rounded(np.zeros(U.value.shape[1]), U.unit)


def _ones(rows: Rows) -> Rows:
    return [_constant(row, np.ones(1)) for row in rows]


def _constant(like: Rounded, value: Any) -> Rounded:
    return Rounded(value, like.unit)
