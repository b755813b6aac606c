"""A few short rows: what there is one of for each, side by side, so that it is computed one row a lane."""

from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    empty_float64,
    empty_row,
    first_lanes,
    get,
    lanes_of,
    narrow,
    skip,
    store,
    where,
    widen,
    widest,
)
from .compile import formula
from .derivatives import Factors, factors_for, target_derivatives
from .exact_sum import bias_for
from .flattened import Flattened
from .loss_row import Arrays
from .options import transformed
from .outcome import RowSums, outcome_of, slopes_of
from .row_lanes import RowOutputs, set_row_lanes
from .shape import BLOCK, n_classes_of
from .shift import Shift, narrowed, shift_for, shifted_exp
from .strided import address, scratch_transformed, skip_or_none
from .tally import Tally
from .vectors import load_float64

_SET = BLOCK + BLOCK // 2
"""Vectors that the rows of a set have at most."""


class Chunk(NamedTuple):
    """The rows that share working memory, what is asked of them, and where it goes."""

    rows: Any  # the first, and that after the last
    n_classes: int
    arrays: Arrays
    targets: Any  # an address, as is the next
    sample_weight: Any
    ignore_index: int
    scale: float  # 1 over the divisor
    options: Any  # in addresses
    outputs: RowOutputs


class Numbers(NamedTuple):
    """Of a row, of every row one a lane, or where they are; in the order in which they become known."""

    sample_weight: Any  # 0 if no row is there
    row_max: Any
    other_max: Any  # but for the target's logit
    z_y: Any
    w_y: Any  # if there are weights
    top: Any  # the largest transformed
    shift: Shift
    bias: Any  # of the exponentials that are summed
    others: Any
    tally: Tally
    factors: Factors
    target_grad: Any
    target_hess: Any


_NUMBERS = Flattened(Numbers)


class SetMemory(NamedTuple):
    """Working memory for two sets, for one, or for a row and those after it in its set."""

    numbers: Any  # of each as many float64 as there may be rows
    exps: Any  # or copies of logits
    transformed: Any
    centred: Any  # the logits of one row, less their offset


@formula
def rows_in_set(n_classes, z):
    """As many as there are lanes, if the exponentials of two sets stay in the first-level cache."""
    return min(lanes_of(z), _SET * lanes_of(z) // n_classes)


@formula
def copy_length(n_classes, z):
    """Of a row: whole vectors, however wide."""
    lanes = lanes_of(widest(z))
    return (n_classes + lanes - 1) // lanes * lanes


@formula
def memory_for_sets(logits, grad, options):
    """In which no row is yet."""
    n_classes, n_numbers = n_classes_of(logits), 2 * _NUMBERS.count
    size = 2 * rows_in_set(n_classes, logits) * copy_length(n_classes, logits)
    numbers, zeros = empty_float64(n_numbers * lanes_of(logits)), widen(broadcast(0.0, logits))
    for n in range(n_numbers):
        store(address(numbers), n * lanes_of(logits), zeros)
    return SetMemory(
        numbers,
        empty_row(size, logits),
        scratch_transformed(grad, size, options),
        empty_row(copy_length(n_classes, logits), logits),
    )


@formula
def memory_of_set(memory, which, n_classes):
    z = memory.exps
    first = which * rows_in_set(n_classes, z) * copy_length(n_classes, z)
    return memory._replace(
        numbers=skip(memory.numbers, which * _NUMBERS.count * lanes_of(z)),
        exps=skip(z, first),
        transformed=skip_or_none(memory.transformed, first),
    )


@formula
def memory_of_row(memory, slot, n_classes):
    first = slot * copy_length(n_classes, memory.exps)
    return memory._replace(
        numbers=skip(memory.numbers, slot),
        exps=skip(memory.exps, first),
        transformed=skip_or_none(memory.transformed, first),
    )


@formula
def places_of(memory):
    lanes = lanes_of(memory.exps)
    return _NUMBERS.named(skip(memory.numbers, n * lanes) for n in range(_NUMBERS.count))


@formula
def numbers_of_row(memory):
    lanes = lanes_of(memory.exps)
    return _NUMBERS.named(get(memory.numbers, n * lanes) for n in range(_NUMBERS.count))


@formula
def _numbers_of_set(memory):
    z = memory.exps
    return _NUMBERS.named(load_float64(memory.numbers, n * lanes_of(z), z) for n in range(_NUMBERS.count))


@formula
def _store_numbers(places, numbers):
    """One number of every row, or a tuple of some."""
    if isinstance(numbers, tuple):
        for place, number in zip(places, numbers, strict=True):
            _store_numbers(place, number)
    else:
        store(places, 0, widen(numbers))


@formula
def find_shifts(memory, chunk):
    """Of rows that are taken."""
    z, options, taken, to = memory.exps, chunk.options, _numbers_of_set(memory), places_of(memory)
    top = transformed(narrow(taken.row_max, z), options)
    other = transformed(narrow(taken.other_max, z), options)
    shift = shift_for(top, z)
    _store_numbers(to.top, top)
    _store_numbers(to.shift, shift)
    _store_numbers(to.bias, bias_for(other, shift, chunk.targets, chunk.arrays.grad, options))


@formula
def _row_sums(summed, z, chunk):
    """What is to be solved."""
    u_y = widen(transformed(narrow(summed.z_y, z), chunk.options))
    e_top = widen(shifted_exp(narrow(summed.top, z), narrowed(summed.shift, z)))
    # Lanes beyond the row are above a NaN too.
    above = where(summed.z_y == summed.z_y, summed.tally.above, float(chunk.n_classes))
    tally, w_y = summed.tally._replace(above=above), 1.0 if chunk.options.weight is None else summed.w_y
    return RowSums(summed.others, u_y, w_y, summed.top, e_top, summed.shift, tally)


@formula
def _store_solved(memory, sums, row_factor, chunk):
    """What the rows are finished with."""
    targets, n_classes, options, to = chunk.targets, chunk.n_classes, chunk.options, places_of(memory)
    slopes = slopes_of(targets, n_classes, sums, options)
    _store_numbers(to.factors, factors_for(slopes, row_factor, 1.0, memory.exps))
    if targets is not None:
        g, h = target_derivatives(slopes, sums.w_y, sums.u_y, n_classes, row_factor, options)
        _store_numbers(to.target_grad, g)
        _store_numbers(to.target_hess, h)


@formula
def solve(memory, start, chunk):
    """Of rows that are summed, the first of them row `start`."""
    z, n_classes, (first, stop), summed = memory.exps, chunk.n_classes, chunk.rows, _numbers_of_set(memory)
    s, sums = summed.sample_weight, _row_sums(summed, z, chunk)
    if chunk.arrays.grad is not None:
        _store_solved(memory, sums, s * chunk.scale, chunk)
    outcome = outcome_of(chunk.targets, n_classes, sums, chunk.options)
    inside = first_lanes(where(start < first, 0, min(rows_in_set(n_classes, z), stop - start)), z)
    set_row_lanes(chunk.outputs, start, inside, s != 0.0, s, outcome, sums.tally.above, n_classes)
