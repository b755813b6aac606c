"""Cross-entropy over many classes: row by row, classes across the lanes."""

import math
from typing import Any, NamedTuple

from numba import prange

from ..simd import empty_float64, fence, flush_subnormals, restore_subnormals, where
from .compile import formula, inline, kernel
from .finish import finish
from .loss_row import (
    Arrays,
    derivatives_at,
    exps_at,
    logit_of_target,
    packed_in,
    places_at,
    row_ahead,
    row_sums,
    row_to_sum,
    set_derivatives_to_zero,
    unfinished_in,
)
from .options import in_addresses
from .row import memory_for, memory_of_row, sum_row
from .row_lanes import row_outputs
from .shape import block_length, n_classes_of, n_rows_of, nearest_of, rows_of_chunk
from .slots import empty_slots, put_nothing, put_summed, rows_at_once, solve
from .strided import address, addresses, written
from .targets import is_read, sample_weight_of, survey, target_of
from .total import flatten_mean_of_no_weight, mean_of


@formula
def _written(before, places):
    """Puts the derivatives of the row before where they belong, if there is one."""
    if before is not None:
        for place in (places.grad, places.hess, places.targets_grad):
            written(place, before.row.n_classes)


class Here(NamedTuple):
    """A row, whether there is one, and whether it is read."""

    places: Any
    target: Any
    sample_weight: Any
    is_row: bool
    is_kept: bool


@inline
def _step(here, first_max, ahead, before, slots, slot, memory, options):
    """Sums a row if it is kept, and finishes the one that had its slot before.

    Gives the largest logit of the first block of the row ahead, or NaN if it is not known; `first_max` is
    that of this row.
    """
    places, y, s = here.places, here.target, here.sample_weight
    max_ahead = math.nan
    if here.is_kept:
        z_y, to = logit_of_target(places.logits, y), derivatives_at(places)
        row = row_to_sum(places, y, z_y, ahead, options)
        sums, max_ahead = sum_row(row, first_max, exps_at(to, memory), memory, before, options)
        put_summed(slots, slot, s, row_sums(row, sums, options))
    else:
        finish(before, options)
        put_nothing(slots, slot)
        if here.is_row:
            set_derivatives_to_zero(places)
    return where(ahead.is_there, max_ahead, math.nan)


@formula
def _rows_to_look_ahead(n_classes, z):
    """A row of one block would wait for its maximum even if that is found in the row before.

    But two rows more must stay in the first-level cache until they are summed.
    """
    return where(2 * n_classes <= block_length(z), 2, 1)


@inline
def loss_by_row(logits, targets, ignore_index, scale, options, loss, lse, lse_low, grad, rows):
    """Rows are taken a few at a time, and finished while the next few are summed.

    Working memory lives until its last use here, so its addresses are taken where they are needed.
    """
    n_classes = n_classes_of(logits)
    at_once = rows_at_once(n_classes)
    arrays = Arrays(logits, options.soft_targets, grad, options.hess, options.targets_grad)
    packed, scratch = packed_in(arrays, 2 * at_once), memory_for(logits, grad, at_once, 1, options)
    scratch_slots, addressed = empty_slots(), in_addresses(options)
    control = flush_subnormals()  # after what may raise a MemoryError
    y_of, s_of, z = address(targets), address(options.sample_weight), address(logits)
    outputs = row_outputs(loss, lse, lse_low, options)
    stop = rows[1] + at_once if rows[0] < rows[1] else rows[0]  # with one more time, to finish the last
    first_copy, first_copy_before = 0, 0  # among packed rows, of which two halves take turns
    first_maxima, n_ahead = (math.nan, math.nan), _rows_to_look_ahead(n_classes, z)
    for start in range(rows[0], stop, at_once):
        slots = addresses(scratch_slots)
        first_copy, first_copy_before = at_once - first_copy, first_copy
        for i in range(start, start + at_once):
            slot = i - start
            memory = memory_of_row(addresses(scratch), slot, n_classes, z)
            nearest, earlier = nearest_of(i, rows), nearest_of(i - at_once, rows)
            places_before = places_at(arrays, earlier, packed, first_copy_before + slot)
            y_before = target_of(y_of, earlier)
            before = unfinished_in(slots, slot, places_before, y_before, memory, scale, addressed)
            places = places_at(arrays, nearest, packed, first_copy + slot)
            y, s = target_of(y_of, nearest), sample_weight_of(s_of, nearest)
            is_row = i < rows[1]
            here = Here(places, y, s, is_row, is_row & is_read(y, s, ignore_index))
            ahead = row_ahead(logits, nearest_of(i + n_ahead, rows), i + n_ahead < rows[1])
            max_ahead = _step(here, first_maxima[0], ahead, before, slots, slot, memory, addressed)
            _written(before, places_before)
            # Of the next row, and of the last one looked ahead to.
            first_maxima = where(n_ahead == 1, max_ahead, first_maxima[1]), max_ahead
        solve(slots, start, rows[1], y_of, n_classes, outputs, grad, addressed)
    restore_subnormals(control)
    if grad is not None:
        fence()


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_rows(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """The sum of the row losses over the divisor, and the first bad target, −1 if there is none.

    A bad target is found before anything is written. A divisor of 0 asks for that of the mean. The
    targets are None for soft ones, which are among the options; loss, lse and grad may be None.
    """
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    n_rows = n_rows_of(logits)
    row_losses = empty_float64(n_rows) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows)
        loss_by_row(logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows)
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad
