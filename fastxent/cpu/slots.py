"""A few rows, summed one after the other and then solved side by side, one a lane.

What is computed once a row is a long chain of operations: logarithms, divisions. For one row it takes
about as long as the sums over 200 classes; for a vector of rows it takes no longer.
"""

from typing import Any, NamedTuple

from ..simd import VECTOR_BYTES, broadcast, empty_float64, first_lanes, get, load, put, store
from .compile import formula
from .flattened import Flattened
from .outcome import RowSums, Slopes, outcome_of, slopes_of
from .row_lanes import set_row_lanes
from .strided import address


class Slots(NamedTuple):
    """Each number of the rows, side by side: a lane is a slot."""

    summed: Any  # the sample weight, 0 if no row is there, and `RowSums`
    slopes: Any


_ROW_SUMS = Flattened(RowSums)
_N_SUMMED = 1 + _ROW_SUMS.count

SLOTS = VECTOR_BYTES // 8
"""As many as a vector has lanes of float64."""


@formula
def rows_at_once(n_classes):
    """As many as there are slots, and as stay near with those before them."""
    return max(1, min(SLOTS, 8192 // max(1, n_classes)))


@formula
def empty_slots():
    """Memory that nothing was summed into yet; whatever is there might take long to compute with."""
    memory = Slots(empty_float64(_N_SUMMED * SLOTS), empty_float64(len(Slopes._fields) * SLOTS))
    p = address(memory.summed)
    for field in range(_N_SUMMED):
        store(p, field * SLOTS, broadcast(0.0, p))
    return memory


@formula
def put_summed(slots, slot, s, sums):
    for field, value in enumerate((s, *_ROW_SUMS.numbers(sums))):
        put(slots.summed, field * SLOTS + slot, value)


@formula
def put_nothing(slots, slot):
    put(slots.summed, slot, 0.0)


@formula
def _from_numbers(numbers):
    s, *sums = numbers
    return s, _ROW_SUMS.named(sums)


@formula
def summed_in(slots, slot):
    return _from_numbers(tuple(get(slots.summed, field * SLOTS + slot) for field in range(_N_SUMMED)))


@formula
def slopes_in(slots, slot):
    return Slopes(*(get(slots.slopes, field * SLOTS + slot) for field in range(len(Slopes._fields))))


@formula
def solve(slots, start, stop, targets, n_classes, outputs, grad, options):
    """The slopes of the rows from `start` to before `stop`, of those in the slots, from what was summed.

    Results that are one a row are stored.
    """
    s, sums = _from_numbers(tuple(load(slots.summed, field * SLOTS) for field in range(_N_SUMMED)))
    if grad is not None:
        for field, value in enumerate(slopes_of(targets, n_classes, sums, options)):
            store(slots.slopes, field * SLOTS, value)
    inside = first_lanes(min(stop - start, rows_at_once(n_classes)), slots.summed)
    outcome = outcome_of(targets, n_classes, sums, options)
    set_row_lanes(outputs, start, inside, s != 0.0, s, outcome, sums.tally.above, n_classes)
