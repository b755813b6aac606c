"""The CPU kernels: each takes checked arrays, computes, and neither validates nor raises."""

from .activation_columns import logsumexp_columns, softmax_columns
from .activation_lanes import FEW_CLASSES_OF_ACTIVATIONS, logsumexp_lanes, softmax_lanes
from .activation_rows import logsumexp_rows, softmax_rows
from .activation_short import logsumexp_short, softmax_short
from .activation_split import logsumexp_split, softmax_split
from .binary_blocks import binary_cross_entropy_blocks, cyclic, first_bad_target_blocks
from .compile import Kernel
from .loss_lanes import FEW_CLASSES, cross_entropy_columns, cross_entropy_lanes
from .loss_rows import cross_entropy_rows
from .loss_short import SHORT_ROW, cross_entropy_short
from .loss_split import cross_entropy_split
from .options import PLAIN, Options
from .probability_lanes import FEW_CLASSES_OF_PROBABILITIES, log_loss_lanes
from .probability_rows import log_loss_rows
from .sigmoid_blocks import sigmoid_blocks
from .softmax_grad import softmax_grad_lanes, softmax_grad_rows
from .threads import number_of_threads

__all__ = [
    "FEW_CLASSES",
    "FEW_CLASSES_OF_ACTIVATIONS",
    "FEW_CLASSES_OF_PROBABILITIES",
    "PLAIN",
    "SHORT_ROW",
    "Kernel",
    "Options",
    "binary_cross_entropy_blocks",
    "cross_entropy_columns",
    "cross_entropy_lanes",
    "cross_entropy_rows",
    "cross_entropy_short",
    "cross_entropy_split",
    "cyclic",
    "first_bad_target_blocks",
    "log_loss_lanes",
    "log_loss_rows",
    "logsumexp_columns",
    "logsumexp_lanes",
    "logsumexp_rows",
    "logsumexp_short",
    "logsumexp_split",
    "number_of_threads",
    "sigmoid_blocks",
    "softmax_columns",
    "softmax_grad_lanes",
    "softmax_grad_rows",
    "softmax_lanes",
    "softmax_rows",
    "softmax_short",
    "softmax_split",
]
