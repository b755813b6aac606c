"""What must be known of all targets before anything is computed or written."""

from typing import NamedTuple

from ..simd import pointer
from .compile import formula, inline

NO_CLASS = -1


class Survey(NamedTuple):
    divisor: float  # of the mean: the sum of the weights of the rows kept
    scale: float  # 1 over the divisor, 0 if that is 0
    first_bad: int  # target that is neither ignored nor a class; −1 if there is none


@formula
def target_of(targets, i):
    return NO_CLASS if targets is None else targets[i]


@formula
def sample_weight_of(sample_weight, i):
    return 1.0 if sample_weight is None else sample_weight[i]


@formula
def weight_of(weight, targets, y):
    """The weight of an integer target's class, 1 if there are no weights."""
    w_y = 1.0
    if weight is not None and targets is not None:
        w_y = weight[y]
    return w_y


@inline
def _first_bad(targets, n_classes, ignore_index):
    y = pointer(targets, 0)
    n_bad = 0
    for i in range(targets.size):
        n_bad += (y[i] != ignore_index) & ((y[i] < 0) | (y[i] >= n_classes))
    first_bad = -1
    if n_bad > 0:
        first_bad = 0
        while y[first_bad] == ignore_index or 0 <= y[first_bad] < n_classes:
            first_bad += 1
    return first_bad


@inline
def _number_kept(targets, ignore_index):
    y = pointer(targets, 0)
    n_kept = 0
    for i in range(targets.size):
        n_kept += y[i] != ignore_index
    return float(n_kept)


@inline
def _weight_kept(targets, ignore_index, weight, sample_weight):
    total = 0.0
    for i in range(targets.size):
        if targets[i] != ignore_index:
            total += (1.0 if weight is None else weight[targets[i]]) * sample_weight_of(sample_weight, i)
    return total


@inline
def _sample_weight_sum(sample_weight, n_rows):
    return float(n_rows) if sample_weight is None else sample_weight.sum()


@formula
def _divisor(targets, n_rows, ignore_index, weight, sample_weight):
    if targets is None:
        return _sample_weight_sum(sample_weight, n_rows)
    if weight is None and sample_weight is None:
        return _number_kept(targets, ignore_index)
    return _weight_kept(targets, ignore_index, weight, sample_weight)


@formula
def _checked(targets, n_classes, ignore_index):
    return -1 if targets is None else _first_bad(targets, n_classes, ignore_index)


@inline
def survey(targets, n_rows, n_classes, ignore_index, divisor, options):
    """Before anything is written; a divisor of 0 asks for that of the mean."""
    first_bad = _checked(targets, n_classes, ignore_index)
    if divisor == 0.0 and first_bad < 0:
        divisor = _divisor(targets, n_rows, ignore_index, options.weight, options.sample_weight)
    return Survey(divisor, 1.0 / divisor if divisor > 0.0 else 0.0, first_bad)
