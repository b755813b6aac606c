"""A few short rows: what there is one of for each, side by side, so that it is computed one row a lane."""

import math
from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    empty_float64,
    empty_row,
    get,
    lanes_of,
    narrow,
    put,
    reduce_sum,
    skip,
    store,
    where,
    widen,
)
from .block_logits import largest_other
from .compile import formula, inline, or_none
from .derivatives import Factors, HighLow, factors_for, target_derivatives
from .exact_sum import bias_for, value_of
from .options import transformed
from .outcome import RowSums, outcome_of, slopes_of
from .row_lanes import set_row_lanes
from .shape import BLOCK, n_classes_of
from .shift import Shift, shift_for, shifted_exp
from .short_row import copy_length
from .strided import put_or_none, scratch_transformed, skip_or_none
from .tally import Tally, over_lanes
from .targets import weight_of
from .vectors import load_float64

_SET = BLOCK + BLOCK // 2
"""Vectors that the rows of a set have at most."""


class Numbers(NamedTuple):
    """Each an address of as many float64 as there may be rows."""

    sample_weight: Any  # 0 if no row is there
    row_max: Any
    other_max: Any  # but for the target's logit
    top: Any  # the largest transformed
    bias: Any  # of the exponentials that are summed
    z_y: Any
    w_y: Any
    shift_offset: Any
    shift_exponent: Any
    others: Any
    mass: Any
    mass_gap: Any
    entropy_gap: Any
    above: Any
    grad_high: Any
    grad_low: Any
    prob_high: Any
    prob_low: Any
    row_factor: Any
    log_top: Any
    target_grad: Any
    target_hess: Any


class RowSet(NamedTuple):
    numbers: Numbers
    exps: Any  # or copies of logits
    transformed: Any


class Scratch(NamedTuple):
    """Working memory for two sets, and for the logits of a row less their offset."""

    numbers: Any
    exps: Any
    transformed: Any
    centred: Any


@formula
def rows_in_set(n_classes, z):
    """As many as there are lanes, if the exponentials of two sets stay in the first-level cache."""
    return min(lanes_of(z), _SET * lanes_of(z) // n_classes)


@formula
def scratch_for(logits, grad, options):
    n_classes = n_classes_of(logits)
    size = 2 * rows_in_set(n_classes, logits) * copy_length(n_classes, logits)
    return Scratch(
        empty_float64(2 * len(Numbers._fields) * lanes_of(logits)),
        empty_row(size, logits),
        scratch_transformed(grad, size, options),
        empty_row(copy_length(n_classes, logits), logits),
    )


@formula
def set_in(scratch, which, n_classes):
    z, n = scratch.exps, len(Numbers._fields)
    places = (skip(scratch.numbers, (which * n + field) * lanes_of(z)) for field in range(n))
    first = which * rows_in_set(n_classes, z) * copy_length(n_classes, z)
    return RowSet(Numbers(*places), skip(scratch.exps, first), skip_or_none(scratch.transformed, first))


@formula
def clear(rows):
    """No row is there."""
    for place in rows.numbers:
        store(place, 0, widen(broadcast(0.0, rows.exps)))


@formula
def exps_in(rows, slot, n_classes):
    return skip(rows.exps, slot * copy_length(n_classes, rows.exps))


@formula
def transformed_in(rows, slot, n_classes):
    return skip_or_none(rows.transformed, slot * copy_length(n_classes, rows.exps))


@formula
def _other_max(to_take, row_max):
    z, y = to_take.logits, to_take.target
    if y is None:
        return row_max
    return largest_other(z, y, get(z, y), 0, to_take.n_classes, row_max)


@inline
def put_taken(numbers, slot, to_take, row_max, options):
    put(numbers.sample_weight, slot, to_take.sample_weight)
    if to_take.n_classes > 0:
        put(numbers.row_max, slot, row_max)
        put(numbers.other_max, slot, _other_max(to_take, row_max))
        _take_target(numbers, slot, to_take, options)


@formula
def is_target_left_out(y, options):
    """True if the target's logit in the copy is −inf, and its exponential 0 by itself; or else None.

    Of smoothing's and the entropy's sums it is a part.
    """
    is_summed = options.label_smoothing is not None or options.entropy is not None
    return None if y is None or is_summed else True


@formula
def _take_target(numbers, slot, to_take, options):
    y = to_take.target
    if y is not None:
        put(numbers.z_y, slot, get(to_take.logits, y))
        if is_target_left_out(y, options) is not None:
            put(to_take.copy, y, -math.inf)


@formula
def find_shifts(rows, targets, options):
    z, numbers = rows.exps, rows.numbers
    top, other = (
        transformed(narrow(load_float64(place, 0, z), z), options)
        for place in (numbers.row_max, numbers.other_max)
    )
    shift = shift_for(top, z)
    store(numbers.top, 0, widen(top))
    store(numbers.bias, 0, widen(bias_for(other, shift, targets, options)))
    store(numbers.shift_offset, 0, widen(shift.offset))
    store(numbers.shift_exponent, 0, widen(shift.exponent))


@formula
def put_sums(numbers, slot, sums, y, options):
    tally = over_lanes(sums.tally, options)
    put(numbers.others, slot, reduce_sum(value_of(sums.others)))
    if options.label_smoothing is not None:
        put(numbers.mass, slot, tally.mass)
        put(numbers.mass_gap, slot, tally.mass_gap)
    if options.entropy is not None:
        put(numbers.entropy_gap, slot, tally.entropy_gap)
    if options.rank is not None:
        put(numbers.above, slot, tally.above)
    if options.weight is not None:
        put(numbers.w_y, slot, weight_of(options.weight, y))


@formula
def solve_set(rows, start, inside, n_classes, targets, scale, outputs, grad, options):
    """What the rows are finished with is stored, and where inside the results that are one a row."""
    z, numbers = rows.exps, Numbers(*(load_float64(place, 0, rows.exps) for place in rows.numbers))
    s, w_y = numbers.sample_weight, numbers.w_y
    if options.weight is None:
        w_y = widen(broadcast(1.0, z))
    z_y, top = narrow(numbers.z_y, z), narrow(numbers.top, z)
    u_y = widen(transformed(z_y, options))
    shift = Shift(numbers.shift_offset, numbers.shift_exponent)
    e_top = widen(shifted_exp(top, Shift(narrow(shift.offset, z), narrow(shift.exponent, z))))
    above = where(z_y == z_y, numbers.above, float(n_classes))
    tally = Tally(numbers.mass, numbers.mass_gap, numbers.entropy_gap, above)
    sums = RowSums(numbers.others, u_y, w_y, numbers.top, e_top, shift, tally)
    if grad is not None:
        slopes = slopes_of(targets, n_classes, sums, options)
        _store_factors(rows, slopes, s * scale)
        if targets is not None:
            g, h = target_derivatives(slopes, w_y, u_y, n_classes, s * scale, options)
            store(rows.numbers.target_grad, 0, g)
            store(rows.numbers.target_hess, 0, h)
    outcome = outcome_of(targets, n_classes, sums, options)
    set_row_lanes(outputs, start, inside, s != 0.0, s, outcome, above, n_classes)


@formula
def _store_factors(rows, slopes, row_factor):
    to, factors = rows.numbers, factors_for(slopes, row_factor, 1.0, rows.exps)
    store(to.grad_high, 0, widen(factors.grad.high))
    store(to.grad_low, 0, widen(factors.grad.low))
    store(to.prob_high, 0, widen(factors.prob.high))
    store(to.prob_low, 0, widen(factors.prob.low))
    store(to.row_factor, 0, widen(factors.row_factor))
    store(to.log_top, 0, widen(factors.log_top))


@formula
def factors_in(numbers, slot):
    return Factors(
        HighLow(get(numbers.grad_high, slot), get(numbers.grad_low, slot)),
        HighLow(get(numbers.prob_high, slot), get(numbers.prob_low, slot)),
        get(numbers.row_factor, slot),
        get(numbers.log_top, slot),
    )


@formula
def shift_in(numbers, slot):
    return Shift(get(numbers.shift_offset, slot), get(numbers.shift_exponent, slot))


@or_none
def finish_target(to_finish, numbers, slot):
    """After all other classes; of an integer target."""
    if to_finish.n_classes > 0:
        _put_derivatives(to_finish.to, numbers, slot, to_finish.target)


@formula
def _put_derivatives(to, numbers, slot, y):
    if y is not None:
        put(to.grad, y, get(numbers.target_grad, slot))
        put_or_none(to.hess, y, get(numbers.target_hess, slot))
