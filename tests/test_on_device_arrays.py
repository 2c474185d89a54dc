"""Every public function on CuPy's arrays: the numbers are NumPy's, and they stay on the device.

CuPy's part is played by `fake_cupy`, on which nothing passes that CuPy would refuse. It computes as NumPy does, so
results are equal in every bit, except where the function itself takes another way on a device.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import fake_cupy
import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import analysis, engines, oracle, recurrence
from indrnn_np.array_module import is_cupy
from indrnn_np.oracle import folding, numerical, worker

Move = Callable[[Any], Any]  # takes arrays, and what is made of them, to the library on trial

rng = np.random.default_rng(0)
T, B, N, M = 5, 2, 3, 4
x, dh, a, a_dot = (rng.standard_normal(shape) for shape in ((T, B, M), (T, B, N), (T, B, N), (T, B, N)))
W, U, b, h0 = (rng.standard_normal(shape) for shape in ((N, M), (N, N), (N,), (B, N)))
u = np.array([-0.9, 0.4, 1.1])
h = recurrence.forward(a, u, h0, "tanh")
trace = ir.forward(x, W, u, b, h0, "tanh", engine="reference")
traces = [ir.forward(*given, σ, engine="reference") for σ in ir.ACTIVATIONS
          for given in ((x, W, u, b, h0), [array + 0.1j * array for array in (x, W, u, b, h0)])]
slopes = analysis.slopes(trace)
stack = {"W": [W, U], "u": [u, u[::-1].copy()], "slopes": [slopes, slopes[::-1].copy()]}
J = analysis.rnn_jacobians(U, slopes)
direction = analysis.PerParameter(np.ones_like(W), np.ones_like(u), b, h0)
maps = analysis.Affine(slopes, a)
clamps = analysis.Clamp(slopes, a, -np.ones_like(a), np.ones_like(a))
bounds = {"u": u, "A": np.array(1.5), "D": np.ones(N), "X": np.array(2.0), "H0": np.array([0.0, 1.0, 2.0])}
saturating = {name: value for name, value in bounds.items() if name != "A"}
hessian = {"x": x, "W": W, "u": u, "b": b, "h0": h0, "direction": direction, "activation": "tanh"}
checkpoint = {"rnn/input_kernel": W.T.copy(), "rnn/recurrent_kernel": u, "rnn/bias": b}


def on_reference(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run on the specification, which runs on both; the kernels have tests of their own."""
    return lambda *arguments, **options: function(*arguments, **options, engine="reference")


EXAMPLES: dict[str, Callable[[Move], Any]] = {
    "forward": lambda g: [on_reference(ir.forward)(*given, activation="tanh")
                          for given in (g((x, W, u, b, h0)), g((x, W, u)))],
    "backward": lambda g: [ir.backward(g(dh.astype(each.h.dtype)), g(each)) for each in traces],
    "recurrent_forward": lambda g: on_reference(ir.recurrent_forward)(*g((a, u, h0)), "softplus", out=g(h)),
    "recurrent_backward": lambda g: on_reference(ir.recurrent_backward)(*g((dh, h, a, u, h0)), "tanh", out=g(a_dot)),
    "to_numpy": lambda g: g(ir.to_numpy(g(x))),
    "to_cupy": lambda g: g(ir.to_numpy(ir.to_cupy(g(x)))),
    "recurrence.forward": lambda g: recurrence.forward(*g((a, u, h0)), "sigmoid"),
    "recurrence.backward": lambda g: recurrence.backward(*g((dh, h, a, u, h0)), "tanh"),
    "recurrence.jvp": lambda g: recurrence.jvp(*g((a, u, h0)), "tanh", *g((a_dot, u, h0))),
    "engines.choose": lambda g: engines.choose("reference", g(x), ir.ACTIVATIONS["relu"]),
    "analysis.a_priori_bounds": lambda g: [analysis.a_priori_bounds(T, **given, loss=loss)
                                           for given in (g(bounds), {"u": g(u)}, {"u": 0.9, "A": g(b**2)})
                                           for loss in ("last", "every")],
    "analysis.backward_clipping_inside": lambda g: analysis.backward_clipping_inside(
        *g((dh, h, a, u, h0)), "tanh", 0.5),
    "analysis.classify": lambda g: analysis.classify(g(u), T, 0.1, slope=g(np.ones((2, 1)))),
    "analysis.clip_by_norm": lambda g: analysis.clip_by_norm(g([u, W]), 0.5),
    "analysis.clip_by_value": lambda g: analysis.clip_by_value(g(u), 0.5),
    "analysis.clip_in_graph": lambda g: (lambda v, back: (v, back(g(b))))(*analysis.clip_in_graph(g(u), 0.5, 1.0)),
    "analysis.complex_step_hessian_vector_product": lambda g: analysis.complex_step_hessian_vector_product(
        analysis.squared_loss(g(dh)), **g(hessian)),
    "analysis.departure_from_normality": lambda g: analysis.departure_from_normality(g(U)),
    "analysis.forward_mode": lambda g: analysis.forward_mode(g(dh), g(trace)),
    "analysis.gauss_newton_diagonal": lambda g: analysis.gauss_newton_diagonal(g(trace), g(abs(dh))),
    "analysis.gauss_newton_product": lambda g: analysis.gauss_newton_product(analysis.squared_loss(g(dh), g(abs(a))),
                                                                            **g(hessian)),
    "analysis.geometric_sums": lambda g: analysis.geometric_sums(T, g(abs(u))),
    "analysis.gradient_through_time": lambda g: [analysis.gradient_through_time(g(each)) for each in traces],
    "analysis.hessian_vector_product": lambda g: [analysis.hessian_vector_product(
        analysis.linear_loss(g(dh)), **g(hessian | {"activation": σ})) for σ in ("tanh", "softplus", "relu")],
    "analysis.inclusive_scan": lambda g: [analysis.inclusive_scan(g(each)) for each in (maps, clamps)],
    "analysis.input_gradient_bound": lambda g: analysis.input_gradient_bound(g(abs(dh[:, 0])), g(W)),
    "analysis.jacobian_products": lambda g: [analysis.jacobian_products(g(each), 3) for each in (J, J * 1j)],
    "analysis.kreiss_lower_bound": lambda g: analysis.kreiss_lower_bound(g(U), 4),
    "analysis.largest_sensitivity": lambda g: [analysis.largest_sensitivity(T, *given)
                                               for σ in ("tanh", "sigmoid")
                                               for given in ((g(u), σ, g(abs(b))), (g(u), σ), (0.9, σ, g(abs(b))))],
    "analysis.linear_loss": lambda g: (lambda loss: (loss.gradient(g(h)), loss.curvature(*g((h, a)))))(
        analysis.linear_loss(g(dh))),
    "analysis.log_gradient_through_time": lambda g: [analysis.log_gradient_through_time(g(each))
                                                     for each in traces],
    "analysis.log_norms": lambda g: analysis.log_norms(analysis.jacobian_products(g(J))),
    "analysis.log_stack_kernel": lambda g: analysis.log_stack_kernel(3, 0.5, g(np.arange(T))),
    "analysis.lyapunov_by_qr": lambda g: [analysis.lyapunov_by_qr(g(each), 1) for each in (J, J * 1j)],
    "analysis.lyapunov_spectrum": lambda g: analysis.lyapunov_spectrum(g(stack["u"]), g(stack["slopes"])),
    "analysis.memory_length": lambda g: [analysis.memory_length(g(u), 0.1, slope)
                                         for slope in (g(np.ones((2, 1))), 0.5, [0.5, 1.0, 0.5])],
    "analysis.numerical_radius": lambda g: analysis.numerical_radius(g(U)),
    "analysis.numerical_range": lambda g: analysis.numerical_range(g(U), 5),
    "analysis.piecewise_linear_bounds": lambda g: [analysis.piecewise_linear_bounds(T, activation=σ, loss=loss, **given)
                                                   for σ in ("identity", "relu", "leaky_relu")
                                                   for loss in ("last", "every")
                                                   for given in (g(bounds), {"u": g(u)}, {"u": -0.9, "H0": g(b**2)})],
    "analysis.project": lambda g: analysis.project(g(u), 0.5, 1.0),
    "analysis.range_of_slopes": lambda g: analysis.range_of_slopes(g(slopes)),
    "analysis.rnn_jacobians": lambda g: analysis.rnn_jacobians(g(U), g(slopes)),
    "analysis.saturating_bounds": lambda g: [analysis.saturating_bounds(T, activation=σ, loss=loss, **given)
                                             for σ in ("tanh", "sigmoid") for loss in ("last", "every")
                                             for given in (g(saturating), {"u": g(u)}, {"u": -0.9, "X": g(b**2)})],
    "analysis.scan_backward": lambda g: [analysis.scan_backward(*g(
        (dh, h, a, u * 1e3 ** i, h0)), σ) for σ in ("tanh", "relu", "relu6") for i in (0, 100)],
    "analysis.scan_forward": lambda g: [analysis.scan_forward(*g((a, u * 1e3 ** i, h0)), σ)
                                        for σ in ("identity", "relu", "hard_tanh", "relu6") for i in (0, 100)],
    "analysis.second_slope": lambda g: [analysis.second_slope(σ, g(z)) for σ in ir.ACTIVATIONS
                                        for z in (a, a + 0.1j)],
    "analysis.sensitivities": lambda g: analysis.sensitivities(g(trace)),
    "analysis.sharp_bounds": lambda g: analysis.sharp_bounds(g(dh), g(trace)),
    "analysis.slopes": lambda g: [analysis.slopes(g(each)) for each in traces],
    "analysis.spectral_radius": lambda g: analysis.spectral_radius(g(U)),
    "analysis.squared_loss": lambda g: (lambda loss: (loss.gradient(g(h)), loss.curvature(*g((h, a)))))(
        analysis.squared_loss(g(dh), g(u))),
    "analysis.stack_bound": lambda g: analysis.stack_bound(g(stack["W"]), g(stack["u"]), 3),
    "analysis.stack_gradient": lambda g: [analysis.stack_gradient(**g(stack)), analysis.stack_gradient(
        g([U, U]), g([u, u]), lags=3, residual=True)],
    "analysis.stack_jacobians": lambda g: analysis.stack_jacobians(**g(stack)),
    "analysis.transient_growth": lambda g: analysis.transient_growth(g(U), 5),
    "oracle.from_ours": lambda g: oracle.from_ours(*g((W, u, b)), "keras"),
    "oracle.to_ours": lambda g: oracle.to_ours(g(checkpoint), "keras"),
    "oracle.guess_layout": lambda g: oracle.guess_layout(g(checkpoint)),
    "oracle.numerical.adjoint_identity": lambda g: numerical.adjoint_identity(*g([{"h": each} for each in
                                                                                 (dh, a, a_dot, h)])),
}

# On the CPU by nature: exact whole numbers, longdouble, strings, pictures. CuPy's arrays are copied, and so it is said.
COPIED = {
    "analysis.scan_backward_error": lambda g: analysis.scan_backward_error(
        *g((dh, slopes, u, np.full(dh.shape, 1e-9), np.arange(T)))),
    "analysis.scan_forward_error": lambda g: analysis.scan_forward_error(*g((a, u, h0)), "relu", g(np.arange(T))),
    "analysis.classify": EXAMPLES.pop("analysis.classify"),
}
PICTURES = {
    "analysis.plot_gradient_heat": lambda g: analysis.plot_gradient_heat(g([dh, h])),
    "analysis.plot_gradient_over_lag": lambda g: analysis.plot_gradient_over_lag(
        g(analysis.gradient_through_time(trace))),
    "analysis.plot_memory": lambda g: analysis.plot_memory(g(u), 0.1),
    "analysis.plot_weight_range": lambda g: analysis.plot_weight_range(g(np.array([2, 9, 20])), 0.1, 2.0),
}

# On LAPACK's eigenvectors, or about NumPy: CuPy's arrays are refused, and the sentence says how to bring them here.
two_layers, dense_stack = analysis.rnn_as_indrnn(W, U), analysis.rnn_as_dense_stack(W, U)
REFUSED = {
    "analysis.indrnn_as_rnn": lambda g: analysis.indrnn_as_rnn(*g(tuple(two_layers))),
    "analysis.perturbation_errors": lambda g: analysis.perturbation_errors(U, g(np.array([1e-3]))),
    "analysis.rnn_as_dense_stack": lambda g: analysis.rnn_as_dense_stack(g(W), g(U)),
    "analysis.rnn_as_indrnn": lambda g: analysis.rnn_as_indrnn(g(W), g(U)),
    "analysis.run_dense_stack": lambda g: analysis.run_dense_stack(g(x), dense_stack),
    "analysis.run_two_layers": lambda g: analysis.run_two_layers(g(x), two_layers),
    "oracle.numerical.central_difference": lambda g: numerical.central_difference(lambda v: v.sum(), g(u)),
    "oracle.numerical.complex_step": lambda g: numerical.complex_step(lambda v: v.sum(), g(u)),
}

# They take a candidate, which may return CuPy's arrays; see the tests of that below.
CANDIDATES = ("oracle.verify", "oracle.assert_matches", "oracle.from_recurrence")

# Numbers, names and files alone; or arrays of PyTorch and JAX.
NO_ARRAYS = (
    "leaky_relu", "engines.available", "engines.on_the_cpu",
    "analysis.backward_operations", "analysis.combines", "analysis.constant_weight", "analysis.forward_operations",
    "analysis.long_term_weight", "analysis.normal_weight", "analysis.parameter_count",
    "analysis.recurrent_weight_range", "analysis.rotation_gap", "analysis.stack_kernel_peak",
    "analysis.stack_weight_limit", "analysis.uniform_weight", "analysis.what_the_range_leaves_open",
    "oracle.cases", "oracle.from_jax", "oracle.from_torch", "oracle.from_torch_module", "oracle.read_vectors",
    "oracle.write_vectors",
)


def public(path: str, room: Any) -> dict[str, Any]:
    """Name the public functions of a module."""
    names = getattr(room, "__all__", None) or [name for name, value in vars(room).items() if not name.startswith("_")
                                               and getattr(value, "__module__", "") == room.__name__]
    return {path + name: getattr(room, name) for name in names if inspect.isfunction(getattr(room, name))}


PUBLIC = {**public("", ir), **public("recurrence.", recurrence), **public("engines.", engines),
          **public("analysis.", analysis), **public("oracle.", oracle), **public("oracle.numerical.", numerical)}
ARRAYS = ("h", "x", "W", "u", "h0", "a")  # of a trace
SAME = {"engines.recurrent_forward", "engines.recurrent_backward"}  # of other names above


class Moved:
    """Takes arrays to the device, in whatever they are; counts them."""

    def __init__(self, move: Callable[[np.ndarray], Any]) -> None:
        self.move, self.count = move, 0

    def __call__(self, value: Any) -> Any:
        """Return the same with every array moved."""
        if isinstance(value, np.ndarray):
            self.count += 1
            return self.move(value)
        if isinstance(value, Mapping):
            return {name: self(each) for name, each in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self, value))
        if isinstance(value, tuple | list):
            return type(value)(map(self, value))
        if isinstance(value, ir.Trace):
            return dataclasses.replace(value, **{name: self(getattr(value, name)) for name in ARRAYS})
        return value


def parts(value: Any) -> list[Any]:
    """Return the arrays and numbers that a result is made of."""
    if isinstance(value, ir.Trace):
        value = [getattr(value, name) for name in ARRAYS]
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    return [part for each in value for part in parts(each)] if isinstance(value, tuple | list) else [value]


def check(example: Callable[[Move], Any], same: Callable[[Any, Any], bool]) -> None:
    """Insist that a function gives on the device what it gives here, and gives it there."""
    here, moved = example(Moved(np.copy)), Moved(fake_cupy.asarray)
    there = example(moved)
    assert moved.count, "nothing was moved"
    for got, want in zip(parts(there), parts(here), strict=True):
        if isinstance(want, np.ndarray | np.generic) and want.dtype.kind != "U":
            assert is_cupy(got) or isinstance(want, np.generic), f"{type(got).__name__} came back"
            plain = ir.to_numpy(got)
            assert plain.dtype == want.dtype
            assert plain.shape == want.shape
            assert same(plain, want)
        else:
            assert type(got) is type(want)
            assert got == want


def said(name: str) -> str:
    """Return what a function says of itself, and its file."""
    return str(inspect.getdoc(PUBLIC[name])) + str(inspect.getdoc(inspect.getmodule(PUBLIC[name])))


def same_bits(got: Any, want: Any) -> bool:
    return bool(np.array_equal(got, want, equal_nan=True))


def within_float64(got: Any, want: Any) -> bool:
    """log|∂h_T/∂h_k| sums T logarithms below 10, and a device has no longdouble: 8 roundings a step (see there)."""
    finite = np.isfinite(want)
    return bool((abs(got[finite] - want[finite]) <= T * 10 * 8 * 2.0**-53).all()
                and np.array_equal(got[~finite], want[~finite]))


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    return fake_cupy.install(monkeypatch)


@pytest.mark.parametrize("name", EXAMPLES)
def test_on_the_device_the_numbers_are_numpy_s_and_stay_there(name: str) -> None:
    check(EXAMPLES[name], within_float64 if name == "analysis.log_gradient_through_time" else same_bits)


@pytest.mark.parametrize("name", COPIED)
def test_what_is_the_cpu_s_by_nature_copies_and_says_so(name: str) -> None:
    here, moved = COPIED[name](Moved(np.copy)), Moved(fake_cupy.asarray)
    there = COPIED[name](moved)
    assert moved.count
    assert type(there) is np.ndarray
    assert there.dtype == here.dtype
    assert np.array_equal(there, here)
    assert "CuPy" in said(name)


@pytest.mark.extra("plot")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_of_copies(name: str) -> None:
    def pixels(move: Callable[[np.ndarray], Any]) -> Any:
        figure = PICTURES[name](Moved(move)).figure
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())

    assert np.array_equal(pixels(fake_cupy.asarray), pixels(np.copy))
    assert "CuPy" in said(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_cpu_names_the_argument_and_the_way_here(name: str) -> None:
    with pytest.raises(TypeError, match=r"^\w+: expected a .*NumPy array; got .*(to_numpy\(\w+\)|\w+\.get\(\))\.$"):
        REFUSED[name](Moved(fake_cupy.asarray))
    REFUSED[name](Moved(np.copy))
    assert "CuPy" in said(name)


def test_no_public_function_is_forgotten() -> None:
    tables = (EXAMPLES, COPIED, PICTURES, REFUSED, CANDIDATES, NO_ARRAYS, SAME)
    assert sum(map(len, tables)) == len(set().union(*tables)), "a function is in one table"
    assert set().union(*tables) == PUBLIC.keys()
    for name in NO_ARRAYS:
        annotations = [str(p.annotation) for p in inspect.signature(PUBLIC[name]).parameters.values()]
        assert not any("Array" in text or "Trace" in text for text in annotations), name


# A candidate on a GPU.


def on_the_device(**arrays: Any) -> dict[str, Any]:
    """One layer that brings its arguments to the GPU and leaves its results there."""
    activation, moved = arrays.pop("activation"), Moved(fake_cupy.asarray)(arrays)
    dh = moved.pop("dh")
    made = on_reference(ir.forward)(**moved, activation=activation)
    return {"h": made.h, **ir.backward(dh, made)._asdict()}


def test_a_candidate_may_return_arrays_of_cupy() -> None:
    case = next(case for case in oracle.cases(("tanh",), ("float64",)) if case.id == "small")
    report = oracle.verify(on_the_device, ("tanh",), ("float64",), case="small")
    assert report.passed
    assert report.judgements
    oracle.assert_matches(on_the_device, case)


@pytest.mark.parametrize("without", ["b", "h0"])
def test_a_candidate_that_lacks_an_argument_may_return_arrays_of_cupy(without: str) -> None:
    layer = folding.fold((without,), on_the_device)
    assert oracle.verify(layer, ("relu",), ("float64",), case="small").passed


def test_a_candidate_in_a_process_of_its_own_may_return_arrays_of_cupy() -> None:
    assert type(worker.as_numpy(fake_cupy.asarray(u))) is np.ndarray


def test_a_recurrence_may_return_arrays_of_cupy() -> None:
    def alone(**arrays: Any) -> dict[str, Any]:
        σ, moved = arrays.pop("activation"), Moved(fake_cupy.asarray)(arrays)
        dh = moved.pop("dh")
        h = recurrence.forward(**moved, activation=σ)
        return {"h": h, **recurrence.backward(dh, h, **moved, activation=σ)._asdict()}

    assert oracle.verify(oracle.from_recurrence(alone), ("relu",), ("float64",), case="small").passed


def test_a_wrong_candidate_on_the_device_is_caught() -> None:
    def doubled(**arrays: Any) -> dict[str, Any]:
        result = on_the_device(**arrays)
        return result | {"du": result["du"] * 2}

    report = oracle.verify(doubled, ("relu",), ("float64",), case="small")
    assert {finding.name for finding in report.findings} == {"du"}


@pytest.mark.parametrize("differentiate", [numerical.complex_step, numerical.central_difference])
def test_a_black_box_on_the_device_says_how_to_bring_its_values_here(differentiate: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"^f: expected a number or a NumPy array; got ndarray of cupy\. .*f\(x\)\.get"):
        differentiate(lambda v: fake_cupy.asarray(v).sum(), u)


# The check must fail where something is wrong.

FAULTS: dict[str, tuple[str, Callable[[Move], Any]]] = {
    "adds NumPy's array": ("Unsupported type .*ndarray", lambda g: g(u) + np.ones(N)),
    "multiplies NumPy's array": ("Unsupported type .*ndarray", lambda g: np.ones(N) * g(u)),
    "joins NumPy's array": ("Unsupported type .*ndarray", lambda g: np.concatenate([np.ones(2), g(u)])),
    "stores NumPy's array": ("Unsupported type .*ndarray", lambda g: g(u).__setitem__(slice(None), np.ones(N))),
    "selects by NumPy's mask": ("Unsupported type .*ndarray", lambda g: g(u)[u > 0]),
    "adds a list": ("unsupported|NotImplemented|Unsupported", lambda g: np.add(g(u), [1.0, 2.0, 3.0])),
    "fills NumPy's array": ("Implicit conversion", lambda g: np.zeros(N).__setitem__(slice(None), g(u))),
    "computes on the CPU": ("Implicit conversion", lambda g: np.asarray(g(u)) * 2),
    "returns NumPy's array": ("ndarray came back", lambda g: ir.to_numpy(g(u)) * 2),
    "widens": ("Unsupported dtype", lambda g: g(u).astype(np.longdouble).astype(float)),
    "reduces by a ufunc": ("NotImplemented", lambda g: np.add.reduce(g(u))),
    "asks for what CuPy does not tell": ("writeable", lambda g: g(u).flags.writeable),
    "is off by a bit": ("^assert False", lambda g: np.nextafter(g(u), 9.0) if is_cupy(g(u)) else g(u)),
    "has another dtype": ("dtype", lambda g: g(u).astype("f4") if is_cupy(g(u)) else g(u)),
    "moves nothing": ("nothing was moved", lambda g: u),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_function_that_mixes_numpy_in_or_is_off_fails_the_check(fault: str) -> None:
    message, function = FAULTS[fault]
    function(Moved(np.copy))
    with pytest.raises((TypeError, AttributeError, AssertionError), match=message):
        check(function, same_bits)
