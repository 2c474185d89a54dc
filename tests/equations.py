"""Which statement of the papers is which function, and which test holds it.

`python tests/equations.py` writes the table of `indrnn_np/analysis/README.md`, and the short one of the README, which
also says which notebook shows a statement: one that calls a function of its row. `test_equations.py` keeps both true.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
README = TESTS.parent / "indrnn_np" / "analysis" / "README.md"
FRONT = TESTS.parent / "README.md"
NOTEBOOKS = TESTS.parent / "notebooks"


class Row(NamedTuple):
    """One statement.

    place : where it stands in the paper, or what it is called here
    statement : in one line, with the papers' letters
    source : what the docstring of each function, or that of its module, says of where the statement is from
    functions : dotted names under indrnn_np
    tests : file and name of the tests that hold it
    remark : where the paper's claim is narrower than it sounds, or the true statement beside it
    """

    place: str
    statement: str
    source: str
    functions: str
    tests: str
    remark: str


PAPER = (
    Row("Eq. 1", "h_t = σ(W x_t + U h_{t−1} + b), with ∂h_T/∂h_{T−k} = ∏ diag(σ′(z_t)) U", "Eq. 1",
        "analysis.rnn_jacobians analysis.jacobian_products analysis.log_norms",
        "dense::test_the_product_of_jacobians_agrees_with_differences_of_an_explicit_rnn "
        "dense::test_the_norm_over_the_lag_is_at_most_the_product_of_slopes_and_norms",
        "Only the Jacobians are here, to compare with: the package runs no RNN. A norm bounds the product from above; "
        "nothing keeps it above ε in every direction."),
    Row("Eq. 2", "h_t = σ(W x_t + u ⊙ h_{t−1} + b)", "Eq. 2", "forward backward recurrence.forward",
        "recurrence::test_forward_and_backward_agree_with_eq_2_and_eq_4_written_out_by_hand "
        "layer::test_all_five_gradients_are_derivatives", "None: it is the definition."),
    Row("Eq. 3", "h_{n,t} = σ(w_n x_t + u_n h_{n,t−1} + b_n): each neuron is alone", "neuron",
        "recurrence.forward analysis.gradient_through_time",
        "recurrence::test_a_neuron_never_sees_its_neighbours "
        "through_time::test_the_jacobian_is_diagonal_across_neurons_and_sequences_exactly",
        "Of one layer. In a stack a neuron reaches the others through the layers above it."),
    Row("Eq. 4", "∂J/∂h_t = ∂J/∂h_T · u^{T−t} ∏_{k>t} σ′(z_k)", "Eq. 4",
        "recurrence.backward analysis.gradient_through_time analysis.log_gradient_through_time analysis.slopes",
        "through_time::test_eq_4_written_out_by_hand through_time::test_every_entry_is_the_complex_step_derivative "
        "through_time::test_entry_0_is_what_backward_makes_of_a_last_cotangent_of_one "
        "through_time::test_the_logarithm_is_that_of_the_gradient_wherever_that_is_a_number",
        "It holds where J looks at h_T alone. With losses at other steps each adds its own term (Eq. (iii) of "
        "`recurrence`)."),
    Row("§3.1, the range", "ε ≤ |∂h_T/∂h_{T−k}| ≤ γ ⟺ (ε/∏σ′)^{1/k} ≤ |u| ≤ (γ/∏σ′)^{1/k}", "§3.1",
        "analysis.recurrent_weight_range analysis.range_of_slopes",
        "ranges::test_at_its_lag_the_gradient_is_in_the_range_if_and_only_if_u_is "
        "ranges::test_both_ends_are_the_outermost_floats_inside_for_every_horizon_up_to_2000 "
        "ranges::test_the_nearest_float_to_the_root_of_2_exceeds_it_for_1037_of_2000_horizons",
        "At that lag alone, with ∏σ′ > 0: where a slope is 0, no u keeps ε and none explodes. The nearest float to "
        "2^{1/T} breaks it for 1037 of the first 2000 T; the ends here are rounded inward."),
    Row("§3.1, smaller lags", "slope 1 and ε ≤ 1 ≤ γ: the range for lag T serves every lag k ≤ T", "§3.1",
        "analysis.recurrent_weight_range analysis.range_of_slopes",
        "ranges::test_with_slope_1_and_1_between_epsilon_and_gamma_every_smaller_lag_is_in_range_too "
        "ranges::test_the_upper_end_for_the_largest_slope_keeps_every_lag_of_every_trajectory_from_exploding "
        "ranges::test_varying_slopes_permit_a_weight_whose_gradient_explodes_at_half_the_lag",
        "Not for slopes that vary: half of them small and half 1 permit |u| = 10.07 at the whole lag, and at half of "
        "it the gradient is 1.4e50. With sup |σ′| in place of the product the upper end is safe at every lag."),
    Row("§3.1, ReLU and tanh", "|σ′| ≤ 1, so |u| ≤ γ^{1/T} keeps every trajectory from exploding", "§3.1",
        "analysis.recurrent_weight_range",
        "ranges::test_the_upper_end_for_the_largest_slope_keeps_every_lag_of_every_trajectory_from_exploding "
        "ranges::test_the_paper_s_bounds_have_the_published_digits",
        "The lower end promises nothing: a ReLU that is silent for one step has forgotten, whatever u is, and a tanh's "
        "slopes are below 1."),
    Row("§3.1, memory", "u = 0: no memory; else it lasts until |u|^k ∏σ′ has fallen to ε", "§3.1",
        "analysis.memory_length",
        "ranges::test_the_memory_is_the_first_lag_at_which_the_gradient_has_fallen_to_epsilon "
        "ranges::test_memory_at_the_ends_of_the_range_is_the_horizon",
        "Counted in whole steps, decided exactly. It is the memory of a gradient, at slopes whose geometric mean is "
        "given."),
    Row("Follow-up, Table 1", "long-term: gradient > ε; short-term: ≤ ε; not exploding: ≤ γ", "Table 1",
        "analysis.classify analysis.recurrent_weight_range",
        "ranges::test_a_weight_is_classified_by_the_gradient_at_the_horizon ranges::test_the_classes_are_the_ranges",
        "The first paper has ≥ ε, the table > ε: at ε exactly the two differ. Ranges here are closed, classes follow "
        "the table."),
    Row("Follow-up, initialisation", "u ~ U[0, γ^{1/T}]; U[ε^{1/T}, γ^{1/T}] in the last layer; N(0.4, 0.2) for words",
        "follow-up",
        "analysis.uniform_weight analysis.long_term_weight analysis.constant_weight analysis.normal_weight",
        "control::test_drawn_weights_keep_the_promise_as_rounded_and_fill_the_range "
        "control::test_a_constant_weight_of_1_hands_every_gradient_on "
        "control::test_normal_weights_have_their_mean_and_spread_and_no_bound",
        "A u drawn from [0, γ^{1/T}] may be next to 0: it does not explode, and is promised no memory. The normal one "
        "leaves any range."),
    Row("Follow-up, constraint", "|u| ≤ γ^{1/T}, and no lower end, is enforced while training", "follow-up",
        "analysis.project analysis.clip_in_graph",
        "control::test_projection_goes_to_the_nearest_weight_in_range_and_keeps_the_sign "
        "control::test_a_weight_beyond_the_range_sticks_in_the_graph_and_is_freed_by_projection "
        "control::test_projection_before_the_step_leaves_weights_beyond_the_range_and_after_it_does_not",
        "When and how is not said. The authors' code clamps before the optimiser's step (but for one task), so that "
        "weights in use can be out of range. Inside the graph, one that is out of range has no gradient to return by."),
    Row("The authors' code, clipping", "dz clipped at each step of the recurrence", "authors' first code",
        "analysis.backward_clipping_inside analysis.clip_by_value analysis.clip_by_norm",
        "clipping::test_clipping_inside_is_its_equations_and_bounds_what_it_says "
        "clipping::test_clipping_inside_after_and_not_at_all_are_1187_and_1_and_19292",
        "It is no gradient of any loss, and not what clipping du does: on one neuron they leave 1187 and 1 of 19292. "
        "None of them bounds u."),
    Row("What Eq. 4 does not bound", "at u = γ^{1/T}, ∂h_T/∂h_0 = γ; h_T, ∂h_T/∂u and Σ_t ∂h_t/∂h_0 are large",
        "Eq. 4", "analysis.what_the_range_leaves_open analysis.geometric_sums",
        "bounds::test_what_the_range_leaves_open_in_figures_and_in_a_run "
        "bounds::test_the_geometric_sums_keep_their_digits_at_every_r",
        "The range limits ∂h_T/∂h_0 and none of the others. Always active, with unit input, γ = 2 and T = 5000: "
        "h_T = 7213."),
    Row("Eq. 5–9", "two linear layers are an RNN with U = W_s diag(u_f) W_s⁻¹, W = W_s W_f", "Eq. 5–9",
        "analysis.rnn_as_indrnn analysis.indrnn_as_rnn analysis.run_two_layers",
        "equivalence::test_the_states_of_the_two_layers_are_the_rnn_s_at_every_step_from_any_initial_state "
        "equivalence::test_there_and_back_is_the_same_rnn_but_for_the_condition_number "
        "equivalence::test_the_parameters_are_as_many_as_the_paper_counts",
        "Linear layers, a diagonalizable U, and complex weights where U has complex eigenvalues, as a real U "
        "mostly has."),
    Row("§3.3", "parameters: M·N + N (+N) for one layer, M·N + N·N + 2N (+2N) for two; RNN M·N + N·N (+N)", "§3.3",
        "analysis.parameter_count analysis.forward_operations analysis.backward_operations",
        "counts::test_the_parameters_are_those_that_the_papers_state "
        "counts::test_the_operations_of_an_indrnn_are_those_that_the_specification_performs "
        "counts::test_the_operations_of_the_peers_are_those_counted",
        "The two papers count biases differently. Operations are no time: what is fast depends on what runs in "
        "parallel."),
    Row("§4.1, depth", "layers upon layers, plain or with h^l = h^{l−1} + v^l", "residual",
        "analysis.stack_gradient analysis.stack_bound",
        "depth::test_the_gradient_per_lag_agrees_with_the_complex_step_through_stacked_layers "
        "depth::test_a_residual_stack_is_the_sum_of_all_its_plain_sub_stacks "
        "depth::test_a_silent_layer_ends_a_plain_gradient_and_only_leaves_a_residual_one",
        "Of §4.1 this alone: no batch normalisation, no convolution, no dense concatenation."),
)

OURS = (
    Row("Sensitivities", "p_t = σ′(z_t)(h_{t−1} + u p_{t−1}), …: du = ⟨dh, p⟩, so |du| ≤ Σ|dh_t||p_t|, sharp",
        "chain rule", "analysis.sensitivities analysis.forward_mode analysis.sharp_bounds",
        "sensitivity::test_forward_in_time_gives_what_backward_gives_in_every_regime "
        "sensitivity::test_no_loss_exceeds_the_sharp_bound_and_one_attains_it",
        "For any σ, any u and any loss, on a given trajectory. Each entry is attained by a loss of its own."),
    Row("Bounds before a run", "|h_t|, |dz|, |dh_0|, |db|, |dW|, |du|, |dx| by sums of r^j, r = sup|σ′| |u|", "Proof",
        "analysis.a_priori_bounds analysis.input_gradient_bound",
        "bounds::test_everything_positive_and_active_attains_every_bound_at_once "
        "bounds::test_extreme_inputs_do_not_exceed_the_bounds "
        "bounds::test_the_input_gradient_attains_its_bound_where_all_neurons_pull_one_way",
        "The paper's range is about dz and dh_0 of a loss at the last step; the rest is not in it. Attained for u ≥ 0 "
        "by units that are active throughout."),
    Row("Negative u", "u < 0: signs alternate, and a ReLU's h, du and db are smaller than |u| says", "Proof",
        "analysis.piecewise_linear_bounds",
        "piecewise_linear::test_extreme_inputs_do_not_exceed_the_sign_aware_bounds "
        "piecewise_linear::test_a_drive_of_turning_sign_makes_the_largest_state "
        "piecewise_linear::test_the_best_pattern_of_slopes_attains_the_bound_of_db",
        "The identity's h and du are not smaller. h and db are attained. A ReLU's du is approached; with losses at "
        "every step, a leaky ReLU's may be loose."),
    Row("Saturating σ", "tanh: M_{t+1} = m + 1/(4m), m = |u| M_t ≥ ½, else 1; sup |∂h_T/∂u| = M_T", "Proof",
        "analysis.largest_sensitivity analysis.saturating_bounds",
        "saturating::test_a_drive_attains_the_largest_sensitivity saturating::test_no_drive_exceeds_the_bounds "
        "saturating::test_tanh_grows_as_the_root_of_half_t_where_the_naive_bound_grows_as_t",
        "Of all drives the worst: at |u| = 1 and T = 5000 it is 50.01, where the naive bound is 4999. Summed over "
        "losses at every step it is a bound, not attained."),
    Row("Curvature", "Hessian and Gauss-Newton products by W, u, b, h_0; along u about (T/2)² times that along W",
        "Gauss-Newton",
        "analysis.hessian_vector_product analysis.gauss_newton_product analysis.gauss_newton_diagonal "
        "analysis.complex_step_hessian_vector_product",
        "curvature::test_the_complex_step_and_the_explicit_hessian_agree_in_every_regime "
        "curvature::test_the_diagonal_of_gauss_newton_is_made_of_squared_sensitivities "
        "curvature::test_the_curvature_along_u_exceeds_that_along_w_by_the_square_of_the_length",
        "(T/2)² is at u ≈ 1 and a unit input. At a kink there is no Hessian."),
    Row("Stacks", "|∂h^L_T/∂x_{T−k}| ≤ [ζ^k] ∏ F_l(ζ); one neuron a layer: C(k+L−1, L−1) r^k", "Proof",
        "analysis.stack_bound analysis.log_stack_kernel analysis.stack_kernel_peak analysis.stack_weight_limit",
        "depth::test_the_bound_is_attained_and_nothing_smaller_holds depth::test_the_bound_holds_for_every_drawn_stack "
        "depth_kernel::test_u_at_the_paper_s_limit_does_not_limit_a_stack "
        "depth_kernel::test_the_weight_limit_is_the_largest_float_that_keeps_the_kernel_small",
        "|u| ≤ 2^{1/T} keeps one layer to 2 and lets two reach 9999 at T = 5000: the paper's range is one layer's."),
    Row("Lyapunov exponents", "λ_n = log|u_n| + mean log σ′, whatever the depth and the input weights",
        "triangular", "analysis.lyapunov_spectrum analysis.lyapunov_by_qr analysis.stack_jacobians",
        "lyapunov::test_the_one_step_jacobian_is_triangular_and_its_diagonal_is_slope_times_u "
        "lyapunov::test_the_qr_iteration_finds_the_spectrum_under_a_periodic_drive "
        "lyapunov::test_the_exponents_do_not_see_what_a_stack_of_equal_layers_grows_by",
        "In the limit of long sequences. What grows more slowly than exponentially, as a stack's kernel does, is not "
        "seen."),
    Row("Dense U", "ρ(U)^k ≤ ‖U^k‖ ≤ 2 w(U)^k; for U = diag(u) all are max|u|^k", "Berger",
        "analysis.spectral_radius analysis.numerical_radius analysis.numerical_range analysis.transient_growth "
        "analysis.departure_from_normality analysis.kreiss_lower_bound",
        "non_normality::test_radius_numerical_radius_and_norm_are_ordered_and_so_are_their_powers "
        "non_normality::test_the_numerical_range_of_a_jordan_block_is_a_disc_of_radius_cos_pi_over_n_plus_1 "
        "non_normality::test_the_departure_is_zero_for_normal_matrices_and_what_is_above_the_diagonal_of_a_triangular_"
        "one non_normality::test_a_matrix_with_radius_below_one_may_grow_before_it_decays "
        "non_normality::test_the_kreiss_bound_never_exceeds_what_the_powers_reach",
        "The eigenvalues of U say what a gradient does in the end, not before. A stack of IndRNNs is itself far from "
        "normal."),
    Row("No real rotation", "no finite linear IndRNN with real weights is a rotation, of any width and depth",
        "Theorem",
        "analysis.rotation_gap",
        "equivalence::test_a_real_stack_has_real_poles_only_whatever_its_depth_and_a_rotation_has_not "
        "equivalence::test_the_gap_is_below_what_any_real_weights_give_and_is_their_least "
        "equivalence::test_a_complex_pair_is_a_rotation",
        "So Section 4's sentence needs complex weights; perturbing U does not help, since complex spectra fill an open "
        "set. As many real neurons as steps fit anything."),
    Row("Defective U", "perturbed by about eps^{n/(2n−1)}, its two layers err least; the Schur form has no such price",
        "Section 4",
        "analysis.perturbation_errors analysis.rnn_as_dense_stack analysis.run_dense_stack",
        "schur::test_the_best_perturbation_of_a_jordan_block_leaves_the_error_that_its_size_predicts "
        "schur::test_the_dense_stack_is_any_rnn_at_condition_number_1 "
        "schur::test_a_defective_matrix_of_size_32_loses_all_in_two_layers_and_nothing_in_the_stack",
        "The paper perturbs and says no more. The stack has as many layers as neurons, fed a step late."),
    Row("Scan form", "{h → min(hi, max(lo, s h + c))} is closed under h → max(0, a + u h)", "Proof",
        "analysis.scan_forward analysis.scan_backward analysis.inclusive_scan analysis.combines",
        "scan::test_clamps_compose_to_clamps_and_are_a_monoid_in_exact_rationals "
        "scan::test_the_scan_is_the_loop_in_exact_rationals_for_any_length_and_any_sign "
        "scan::test_n_leaky_steps_make_n_plus_1_pieces_so_no_fixed_family_is_closed",
        "The papers have no scan. Forward for identity, ReLU, hard tanh and ReLU6; backward for every σ."),
    Row("A scan's rounding", "|ĥ_t − h_t| ≤ Δ_t + (ρ^m − 1)(H_t + Δ_t) + underflow", "Proof",
        "analysis.scan_forward_error analysis.scan_backward_error",
        "scan_rounding::test_forward_no_right_scan_leaves_the_bound "
        "scan_rounding::test_backward_no_right_scan_leaves_the_bound "
        "scan_rounding::test_the_bound_is_sharp_within_a_quarter_so_that_a_smaller_one_would_be_broken",
        "It is larger than the loop's, which rounds after terms have cancelled: the loop's bound would accuse a right "
        "scan."),
)

HELPERS = {
    "What functions return or take": (
        "Affine Bounds Clamp DenseStack GeometricSums Growth JacobianProducts LogGradient Loss NearlyDefective "
        "OpenQuestions Operations PerParameter Sensitivities SensitivityGradients TwoLayers"),
    "Losses, slopes and activations for them": "hard_tanh linear_loss relu6 second_slope squared_loss",
    "Pictures": "plot_gradient_heat plot_gradient_over_lag plot_memory plot_weight_range",
}

INTRODUCTION = """\
# The analysis of gradients, statement by statement

Each file states what it proves at its top, with the proof, above the functions that compute it. Read them in this
order: `through_time` (Eq. 4), `ranges` (which |u|, and what that promises), `bounds` (what it does not promise; here
the first surprise waits), `sensitivity` (how the other gradients move), then what you came for: `control` and
`clipping` for training, `depth` and `lyapunov` for stacks, `equivalence` for Section 4, `curvature` for learning rates,
`scan` for parallel hardware. Whoever only wants numbers takes a `Trace` from `indrnn_np.forward` and calls
`gradient_through_time(trace)`.

Letters are the papers': T steps, B sequences, M inputs, N neurons, L layers; z_t is the pre-activation, ε the smallest
gradient that counts, γ the largest that is tolerated. *The paper* is Li et al., CVPR 2018; *the follow-up* is arXiv
1910.06251. The last column says where a statement is narrower than it sounds. Made by `python tests/equations.py`; a
test keeps it true.
"""

END = """\
## What is not here

Nothing trains here, and nothing measures time. The layers' own gradients are in `indrnn_np.backward`; the deep blocks
of §4.1 (normalisation, convolution, dense concatenation) are not analysed, nor are LSTM and GRU, of which only
parameters and operations are counted. Bounds hold in exact arithmetic and are computed in float64, so the last digits
of a bound are rounded; where an end of a range must hold as rounded, its docstring says so and it is decided exactly.
That a gradient lies in a range says that a signal can pass, not that a network learns from it.
"""


def names(functions: str) -> list[str]:
    """Return the dotted names of a row or of a list of helpers."""
    return functions.split()


def tests_of(row: Row) -> list[tuple[Path, str]]:
    """Return the file and the name of each of a row's tests."""
    pairs = (test.split("::") for test in row.tests.split())
    return [(TESTS / f"test_{stem}.py", name) for stem, name in pairs]


@cache
def source_of(file: Path) -> dict[str, str]:
    """Return the text of every test in a file, with its parameters, by its name."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1:node.end_lineno])
    return found


def readme() -> str:
    """Return the document, as Markdown."""
    parts = [INTRODUCTION]
    for title, rows in (("What the papers state", PAPER), ("What is proved beside it", OURS)):
        parts += [f"## {title}\n", "| | statement | functions | tests | to be exact |", "|---|---|---|---|---|"]
        parts += [_line(row) for row in rows]
        parts += [""]
    parts += ["## Helpers and result types\n"]
    parts += [f"- {title}: {', '.join(f'`{name}`' for name in names(listed))}." for title, listed in HELPERS.items()]
    return "\n".join([*parts, "", END])


def front_table() -> str:
    """Return the README's table of what the papers state, as Markdown."""
    lines = ["| | functions | a test that holds it | notebooks that call one |", "|---|---|---|---|"]
    for row in PAPER:
        functions = ", ".join(f"`{name.removeprefix('analysis.')}`" for name in names(row.functions)[:2])
        file, test = tests_of(row)[0]
        notebooks = ", ".join(f"[{path.stem[0]}](notebooks/{path.stem}.ipynb)" for path in notebooks_of(row))
        lines.append(f"| {row.place} | {functions} | [{_claim(test)}](tests/{file.name}) | {notebooks or '–'} |")
    return "\n".join(lines)


def notebooks_of(row: Row) -> list[Path]:
    """Return the sources of the notebooks that call a function of a row."""
    called = "|".join(re.escape(name if "." in name else f"ir.{name}") for name in names(row.functions))
    return [path for path in sorted(NOTEBOOKS.glob("[0-9]_*.py"))
            if re.search(rf"(?<![\w])(?:ir\.)?(?:{called})\(", path.read_text(encoding="utf-8"))]


def with_front_table(text: str) -> str:
    """Return the README with the table made anew."""
    return re.sub(r"(?s)(?<=<!-- equations -->\n).*?(?=\n<!-- end -->)", lambda _: front_table(), text)


def _line(row: Row) -> str:
    functions = "<br>".join(f"`{name.removeprefix('analysis.')}`" for name in names(row.functions))
    tests = "<br>".join(f"[{_claim(name)}](../../tests/{file.name})" for file, name in tests_of(row))
    cells = (f"**{row.place}**", row.statement, functions, tests, row.remark)
    return "| " + " | ".join(re.sub(r"(?<!\w)_", r"\_", cell.replace("|", "\\|")) for cell in cells) + " |"


def _claim(name: str) -> str:
    """Return a test's name as the sentence that it is."""
    return name.removeprefix("test_").replace("_s_", "'s_").replace("_", " ")


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
    FRONT.write_text(with_front_table(FRONT.read_text(encoding="utf-8")), encoding="utf-8")
