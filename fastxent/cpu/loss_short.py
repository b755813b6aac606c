"""Cross-entropy over short rows: of a few dozen to a few hundred classes, side by side in memory.

A row is a chain: its largest logit comes before its first exponential, the last of these before its loss,
and that before its gradient. Over a short row a processor would wait for most of the time. So rows are
taken a set at a time, and two sets take turns: while the rows of one are summed, those of the other are
finished and replaced.
"""

import math

from numba import prange

from ..simd import empty_float64, first_lanes, flush_subnormals, get, restore_subnormals, row_pointer, where
from .compile import formula, inline, kernel
from .finish import Derivatives
from .loss_row import NOT_PACKED, Arrays, places_at, set_derivatives_to_zero
from .options import in_addresses
from .row import Memory, Row
from .row_lanes import row_outputs
from .row_set import (
    clear,
    exps_in,
    factors_in,
    find_shifts,
    finish_target,
    is_target_left_out,
    put_sums,
    put_taken,
    rows_in_set,
    scratch_for,
    set_in,
    shift_in,
    solve_set,
    transformed_in,
)
from .shape import n_classes_of, n_rows_of, nearest_of, rows_of_chunk
from .short_row import ToFinish, ToSum, ToTake, walk
from .strided import THROUGH_CACHES, address, addresses
from .tally import reference_for
from .targets import is_read, sample_weight_of, survey, target_of
from .total import flatten_mean_of_no_weight, mean_of

SHORT_ROW = 800
"""Classes up to which this is the quicker way."""


@formula
def _row_of(arrays, i):
    """The address of its first class in each, for those that are there."""
    return Arrays(*(None if array is None else row_pointer(array, i) for array in arrays))


@formula
def _row_to_take(rows, slot, logits, n_classes, y, s, is_kept):
    copy = exps_in(rows, slot, n_classes)
    return ToTake(logits, copy, where(is_kept, n_classes, 0), y, where(is_kept, s, 0.0))


@formula
def _row_to_sum(rows, slot, places, n_classes, y, centred, options):
    numbers, z, weight, z_y = rows.numbers, places.logits, options.weight, math.nan
    if options.rank is not None:  # itself: rounding its float64 would make 0 of a subnormal one
        z_y = get(z, max(0, min(y, n_classes - 1)))
    target = None if is_target_left_out(y, options) is not None else y
    row = Row(z, n_classes, target, z_y, math.nan, places.soft_targets, weight, None)
    exps, u = exps_in(rows, slot, n_classes), transformed_in(rows, slot, n_classes)
    memory, reference = Memory(None, centred, None, exps, u), get(numbers.top, slot)
    bias = get(numbers.bias, slot)
    return ToSum(row, shift_in(numbers, slot), bias, reference_for(reference, exps), memory, y)


@formula
def _row_to_finish(rows, slot, places, n_classes, y, options):
    if places.grad is None:
        return None
    numbers, to = rows.numbers, Derivatives(THROUGH_CACHES, places.grad, places.hess, places.targets_grad)
    row = Row(to.grad, n_classes, None, math.nan, math.nan, places.soft_targets, options.weight, None)
    exps, u = exps_in(rows, slot, n_classes), transformed_in(rows, slot, n_classes)
    n_classes = where(get(numbers.sample_weight, slot) != 0.0, n_classes, 0)
    return ToFinish(row, exps, u, to, get(numbers.top, slot), factors_in(numbers, slot), n_classes, y)


@inline
def _step(n_classes, here, there, slot, to_take, to_sum, to_finish, options):
    """Sums a row of the set `here`; in `there` finishes one, and takes one in its place."""
    if get(here.numbers.sample_weight, slot) != 0.0:
        sums, row_max = walk(n_classes, to_take, to_sum, to_finish, options)
        put_sums(here.numbers, slot, sums, to_sum.target, options)
    else:
        _, row_max = walk(n_classes, to_take, None, to_finish, options)
    finish_target(to_finish, there.numbers, slot)
    put_taken(there.numbers, slot, to_take, row_max, options)


@inline
def loss_chunk(logits, targets, ignore_index, scale, options, loss, lse, lse_low, grad, rows):
    """Every row is taken in one round, summed in the next, and finished in that after."""
    n_classes = n_classes_of(logits)
    at_once = rows_in_set(n_classes, logits)
    arrays = Arrays(logits, options.soft_targets, grad, options.hess, options.targets_grad)
    scratch, addressed = scratch_for(logits, grad, options), in_addresses(options)
    control = flush_subnormals()  # after what may raise a MemoryError
    y_of, s_of = address(targets), address(options.sample_weight)
    outputs = row_outputs(loss, lse, lse_low, options)
    for which in range(2):
        clear(set_in(addresses(scratch), which, n_classes))
    which, first = 0, rows[0] - at_once
    for start in range(first, rows[1] + at_once if rows[0] < rows[1] else first, at_once):
        memory = addresses(scratch)
        here, there = set_in(memory, which, n_classes), set_in(memory, 1 - which, n_classes)
        which = 1 - which
        for slot in range(at_once):
            i = nearest_of(start + slot, rows)
            before = nearest_of(start + slot - at_once, rows)
            after = nearest_of(start + slot + at_once, rows)
            y, s = target_of(y_of, after), sample_weight_of(s_of, after)
            is_row = start + slot + at_once < rows[1]
            is_kept = is_row & is_read(y, s, ignore_index)
            to_take = _row_to_take(there, slot, row_pointer(logits, after), n_classes, y, s, is_kept)
            y = target_of(y_of, i)
            row, centred = _row_of(arrays, i), memory.centred
            to_sum = _row_to_sum(here, slot, row, n_classes, y, centred, addressed)
            y = target_of(y_of, before)
            to_finish = _row_to_finish(there, slot, _row_of(arrays, before), n_classes, y, addressed)
            _step(n_classes, here, there, slot, to_take, to_sum, to_finish, addressed)
            if is_row and not is_kept:
                set_derivatives_to_zero(places_at(arrays, after, NOT_PACKED, 0))
        find_shifts(there, y_of, addressed)
        inside = first_lanes(where(start < rows[0], 0, min(at_once, rows[1] - start)), memory.exps)
        solve_set(here, start, inside, n_classes, y_of, scale, outputs, grad, addressed)
    restore_subnormals(control)


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_short(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_rows`, to the bit, for short rows whose classes lie side by side."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    n_rows = n_rows_of(logits)
    row_losses = empty_float64(n_rows) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows)
        loss_chunk(logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows)
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad
