"""What the papers prove about an IndRNN, and what they leave open: one theorem a file, with its proof and its limits.

Eq. 4 and ranges    `through_time`, `ranges`: ∂h_T/∂h_k, and which |u| keeps it above ε and below γ
the weight u        `control`, `clipping`: initialisers, constraints, what each does to the gradient
true bounds         `sensitivity`, `bounds`, `piecewise_linear`, `saturating`: all gradients, any loss, any sign of u
curvature           `curvature`: Hessian and Gauss-Newton products
depth               `depth`, `lyapunov`: the gradient through a stack, its memory kernel, its exponents
Section 4           `equivalence`, `schur`: a linear RNN as IndRNN layers; `dense`, `non_normality`: what a full U adds
in parallel         `scan`, `scan_rounding`: the recurrence as an associative scan, and its allowed error
costs and pictures  `counts`, `plots`

`README.md` beside this file says which statement of the papers is which function, and which test holds it.
Everything works on plain arrays or on the Trace of one layer, and returns plain arrays.
"""

from .bounds import (
    Bounds,
    GeometricSums,
    OpenQuestions,
    a_priori_bounds,
    geometric_sums,
    input_gradient_bound,
    what_the_range_leaves_open,
)
from .clipping import backward_clipping_inside, clip_by_norm, clip_by_value
from .control import clip_in_graph, constant_weight, long_term_weight, normal_weight, project, uniform_weight
from .counts import Operations, backward_operations, forward_operations, parameter_count
from .curvature import (
    Loss,
    PerParameter,
    complex_step_hessian_vector_product,
    gauss_newton_diagonal,
    gauss_newton_product,
    hessian_vector_product,
    linear_loss,
    second_slope,
    squared_loss,
)
from .dense import JacobianProducts, jacobian_products, log_norms, rnn_jacobians
from .depth import log_stack_kernel, stack_bound, stack_gradient, stack_kernel_peak, stack_weight_limit
from .equivalence import (
    DenseStack,
    NearlyDefective,
    TwoLayers,
    indrnn_as_rnn,
    perturbation_errors,
    rnn_as_dense_stack,
    rnn_as_indrnn,
    rotation_gap,
    run_dense_stack,
    run_two_layers,
)
from .lyapunov import lyapunov_by_qr, lyapunov_spectrum, stack_jacobians
from .non_normality import (
    Growth,
    departure_from_normality,
    kreiss_lower_bound,
    numerical_radius,
    numerical_range,
    spectral_radius,
    transient_growth,
)
from .piecewise_linear import piecewise_linear_bounds
from .plots import plot_gradient_heat, plot_gradient_over_lag, plot_memory, plot_weight_range
from .ranges import classify, memory_length, range_of_slopes, recurrent_weight_range
from .saturating import largest_sensitivity, saturating_bounds
from .scan import Affine, Clamp, combines, hard_tanh, inclusive_scan, relu6, scan_backward, scan_forward
from .scan_rounding import scan_backward_error, scan_forward_error
from .sensitivity import Sensitivities, SensitivityGradients, forward_mode, sensitivities, sharp_bounds
from .through_time import LogGradient, gradient_through_time, log_gradient_through_time, slopes

__all__ = [
    "Affine", "Bounds", "Clamp", "DenseStack", "GeometricSums", "Growth", "JacobianProducts", "LogGradient", "Loss",
    "NearlyDefective", "OpenQuestions", "Operations", "PerParameter", "Sensitivities", "SensitivityGradients",
    "TwoLayers",
    "a_priori_bounds", "backward_clipping_inside", "backward_operations", "classify", "clip_by_norm", "clip_by_value",
    "clip_in_graph", "combines", "complex_step_hessian_vector_product", "constant_weight", "departure_from_normality",
    "forward_mode", "forward_operations", "gauss_newton_diagonal", "gauss_newton_product", "geometric_sums",
    "gradient_through_time", "hard_tanh", "hessian_vector_product", "inclusive_scan", "indrnn_as_rnn",
    "input_gradient_bound", "jacobian_products", "kreiss_lower_bound", "largest_sensitivity", "linear_loss",
    "log_gradient_through_time", "log_norms", "log_stack_kernel", "long_term_weight", "lyapunov_by_qr",
    "lyapunov_spectrum", "memory_length", "normal_weight", "numerical_radius", "numerical_range", "parameter_count",
    "perturbation_errors", "piecewise_linear_bounds", "plot_gradient_heat", "plot_gradient_over_lag", "plot_memory",
    "plot_weight_range", "project", "range_of_slopes", "recurrent_weight_range", "relu6", "rnn_as_dense_stack",
    "rnn_as_indrnn", "rnn_jacobians", "rotation_gap", "run_dense_stack", "run_two_layers", "saturating_bounds",
    "scan_backward", "scan_backward_error", "scan_forward", "scan_forward_error", "second_slope", "sensitivities",
    "sharp_bounds", "slopes", "spectral_radius", "squared_loss", "stack_bound", "stack_gradient", "stack_jacobians",
    "stack_kernel_peak", "stack_weight_limit", "transient_growth", "uniform_weight", "what_the_range_leaves_open",
]
