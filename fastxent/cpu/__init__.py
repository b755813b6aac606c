"""The CPU kernels: each takes checked arrays, computes, and neither validates nor raises."""

from .activation_rows import logsumexp_rows, softmax_grad_rows, softmax_rows
from .compile import Kernel
from .loss_lanes import MAX_CLASSES, cross_entropy_lanes
from .loss_rows import cross_entropy_rows
from .sigmoid_blocks import sigmoid_blocks
from .targets import count_kept
from .total import total_of

__all__ = [
    "MAX_CLASSES",
    "Kernel",
    "count_kept",
    "cross_entropy_lanes",
    "cross_entropy_rows",
    "logsumexp_rows",
    "sigmoid_blocks",
    "softmax_grad_rows",
    "softmax_rows",
    "total_of",
]
