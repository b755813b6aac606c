"""What must be known of all targets before anything is computed or written."""

from typing import NamedTuple

from ..simd import pointer, where
from .compile import formula, inline
from .shape import n_classes_of, n_rows_of
from .total import sum_of

LEAST_DIVISOR = 2.0**-1022
"""One over less may be infinite: weights that add up to less count as 0."""


class Survey(NamedTuple):
    divisor: float  # as given, or that of the mean: the sum of the weights of the rows kept
    scale: float  # 1 over the divisor, 0 if that is 0
    first_bad: int  # target that is neither ignored nor a class; −1 if there is none


@formula
def target_of(targets, i):
    """None if there are no integer targets."""
    return None if targets is None else targets[i]


@formula
def sample_weight_of(sample_weight, i):
    return 1.0 if sample_weight is None else sample_weight[i]


@formula
def weight_of(weight, y):
    """The weight of an integer target's class, 1 if there are no weights."""
    return 1.0 if weight is None or y is None else weight[y]


@formula
def is_read(y, s, ignore_index):
    """Whether a row of this target and sample weight is."""
    return s != 0.0 if y is None else (y != ignore_index) & (s != 0.0)


@formula
def _is_bad(y, n_classes, ignore_index):
    return (y != ignore_index) & ((y < 0) | (y >= n_classes))


@inline
def _kept_and_first_bad(targets, n_classes, ignore_index):
    """How many targets are not ignored, and the first that is neither ignored nor a class; −1 if none is."""
    y = pointer(targets)
    n_kept = n_bad = 0
    for i in range(targets.size):
        n_kept += y[i] != ignore_index
        n_bad += _is_bad(y[i], n_classes, ignore_index)
    first_bad = -1
    if n_bad > 0:
        first_bad = 0
        while not _is_bad(y[first_bad], n_classes, ignore_index):
            first_bad += 1
    return n_kept, first_bad


@inline
def _weight_kept(targets, n_rows, ignore_index, weight, sample_weight):
    total = 0.0
    for i in range(n_rows):
        if targets[i] != ignore_index:
            total += weight_of(weight, targets[i]) * sample_weight_of(sample_weight, i)
    return total


@formula
def _weight_of_rows(targets, n_rows, n_kept, ignore_index, weight, sample_weight):
    if weight is sample_weight is None:
        return float(n_kept)
    if targets is None:
        return float(n_rows) if sample_weight is None else sum_of(sample_weight)
    return _weight_kept(targets, n_rows, ignore_index, weight, sample_weight)


@formula
def survey(logits, targets, ignore_index, divisor, options):
    """Before anything is written; a divisor of 0 asks for that of the mean."""
    n_rows = n_rows_of(logits)
    n_kept, first_bad = n_rows, -1
    if targets is not None:
        n_kept, first_bad = _kept_and_first_bad(targets, n_classes_of(logits), ignore_index)
    n_sound = where(first_bad < 0, n_rows, first_bad)
    of_mean = _weight_of_rows(targets, n_sound, n_kept, ignore_index, options.weight, options.sample_weight)
    divisor = where(divisor == 0.0, of_mean, divisor)
    divisor = where(divisor >= LEAST_DIVISOR, divisor, 0.0)
    return Survey(divisor, where(divisor > 0.0, 1.0 / divisor, 0.0), first_bad)
