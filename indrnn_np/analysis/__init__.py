"""What the papers prove about an IndRNN, computed: one file per theorem, each claim with its proof and a test."""

from .clipping import backward_clipping_inside, clip_by_norm, clip_by_value
from .control import clip_in_graph, constant_weight, long_term_weight, normal_weight, project, uniform_weight
from .ranges import classify, memory_length, range_of_slopes, recurrent_weight_range
from .through_time import gradient_through_time, log_gradient_through_time, slopes

__all__ = [
    "backward_clipping_inside", "classify", "clip_by_norm", "clip_by_value", "clip_in_graph", "constant_weight",
    "gradient_through_time", "log_gradient_through_time", "long_term_weight", "memory_length", "normal_weight",
    "project", "range_of_slopes", "recurrent_weight_range", "slopes", "uniform_weight",
]
