"""Cross-entropy over many classes: row by row, classes across the lanes."""

import math
from typing import Any, NamedTuple

from numba import prange

from ..simd import broadcast, empty_float64, fence, get, reduce_max, where, widen
from .compile import formula, inline, kernel
from .finish import Derivatives, Unfinished, finish
from .options import in_addresses
from .row import Row, in_memory, memory_for, memory_of_row, sum_exp, transformed_scalar
from .row_lanes import RowOutputs
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .shift import Shift, shifted_exp
from .slots import (
    Summed,
    empty_slots,
    outcome_in,
    put_nothing,
    put_summed,
    rows_at_once,
    slots_in_memory,
    solve,
    summed_in,
)
from .strided import (
    address,
    exps_row,
    packed_rows,
    row_at,
    set_to_zero,
    streams_of,
    to_read,
    to_write,
    written,
)
from .targets import sample_weight_of, survey, target_of, weight_of
from .total import mean_of


class _Arrays(NamedTuple):
    """Those of the logits' shape, memory for packed rows of each, or the places of one row in each."""

    logits: Any
    soft_targets: Any
    grad: Any
    hess: Any
    targets_grad: Any


@formula
def _packed(arrays, n):
    memory = ()
    for array in arrays:
        memory += (packed_rows(array, n),)
    return _Arrays(*memory)


@formula
def _places_at(arrays, i, packed, copy):
    places = ()
    for array, memory in zip(arrays, packed, strict=True):
        places += (row_at(array, i, memory, copy),)
    return _Arrays(*places)


@formula
def _derivatives_at(places):
    if places.grad is None:
        return None
    streams = streams_of(places.logits, places.grad, places.hess, places.targets_grad)
    return Derivatives(streams, to_write(places.grad), to_write(places.hess), to_write(places.targets_grad))


@formula
def _exps_at(to, memory):
    return None if to is None else exps_row(to.grad, memory.exps, to.streams.grad)


@formula
def _unfinished_in(slots, slot, places, y, targets, memory, scale, options):
    """The row that was summed and solved in this slot."""
    to, z = _derivatives_at(places), places.logits.start
    if to is None:
        return None
    summed = summed_in(slots, slot)
    n_classes = places.logits.n_classes * (summed.sample_weight != 0.0)
    y = None if targets is None else y
    soft_targets = to_write(places.soft_targets)  # packed already
    row = Row(z, n_classes, y, math.nan, summed.u_y, soft_targets, options.weight)
    return Unfinished(
        row,
        _exps_at(to, memory),
        memory.shifts,
        memory.kept,
        to,
        summed.w_y,
        Shift(summed.shift_offset, summed.shift_exponent),
        summed.top,
        outcome_in(slots, slot),
        summed.sample_weight * scale,
    )


@formula
def _summed(row, s, targets, to, before, memory, options):
    sums = sum_exp(row, _exps_at(to, memory), memory, before, options)
    mass, mass_gap, entropy_gap, above = sums.tally
    w_y = weight_of(row.weight, targets, row.target)
    # Lanes beyond the row are above a NaN too.
    above = where(row.z_y == row.z_y, above, float(row.n_classes))
    offset, exponent = sums.shift
    e_top = widen(reduce_max(shifted_exp(broadcast(sums.top, row.logits), sums.shift)))
    return Summed(
        s, sums.others, row.u_y, w_y, sums.top, e_top, offset, exponent, mass, mass_gap, entropy_gap, above
    )


@formula
def _row_at(places, y, targets, options):
    z, soft_targets = to_read(places.logits), to_read(places.soft_targets)
    if targets is None:
        y, z_y, u_y = None, math.nan, math.nan
    else:
        z_y = get(z, y)
        u_y = transformed_scalar(z_y, z, options.logit_scale, options.softcap)
    return Row(z, places.logits.n_classes, y, z_y, u_y, soft_targets, options.weight)


@formula
def _written(before, places):
    """Puts the derivatives of the row before where they belong, if there is one."""
    if before is not None:
        for place in (places.grad, places.hess, places.targets_grad):
            written(place, before.row.n_classes)


@inline
def _step(is_row, is_kept, places, y, s, targets, before, places_before, slots, slot, memory, options):
    """Sums a row if it is kept, and finishes the one that had its slot before."""
    if is_kept:
        row, to = _row_at(places, y, targets, options), _derivatives_at(places)
        put_summed(slots, slot, _summed(row, s, targets, to, before, memory, options))
    else:
        finish(before, options)
        put_nothing(slots, slot)
        if is_row:
            set_to_zero(places.grad)
            set_to_zero(places.hess)
            set_to_zero(places.targets_grad)
    _written(before, places_before)


@formula
def _end_streams(grad):
    if grad is not None:
        fence()


@formula
def _clamped(i, rows):
    """The nearest of the rows."""
    return max(rows[0], min(i, rows[1] - 1))


@inline
def _loss_chunk(logits, targets, ignore_index, scale, options, loss, lse, grad, rows):
    """Rows are taken a few at a time, and finished while the next few are summed.

    Working memory lives until its last use here, so its addresses are taken where they are needed.
    """
    n_classes = n_classes_of(logits)
    at_once = rows_at_once(n_classes)
    arrays = _Arrays(logits, options.soft_targets, grad, options.hess, options.targets_grad)
    packed, scratch = _packed(arrays, 2 * at_once), memory_for(logits, grad, at_once, options)
    scratch_slots, addresses = empty_slots(), in_addresses(options)
    y_of, s_of, z = address(targets), address(options.sample_weight), address(logits)
    to = RowOutputs(address(loss), address(lse), address(options.entropy), address(options.rank))
    stop = rows[1] + at_once if rows[0] < rows[1] else rows[0]  # with one more time, to finish the last
    for start in range(rows[0], stop, at_once):
        slots = slots_in_memory(scratch_slots)
        for i in range(start, start + at_once):
            slot, copy = i - start, (i - rows[0]) % (2 * at_once)
            memory = memory_of_row(in_memory(scratch), slot, n_classes, z)
            here, earlier = _clamped(i, rows), _clamped(i - at_once, rows)
            places_before = _places_at(arrays, earlier, packed, (copy + at_once) % (2 * at_once))
            y_before = target_of(y_of, earlier)
            before = _unfinished_in(slots, slot, places_before, y_before, y_of, memory, scale, addresses)
            places = _places_at(arrays, here, packed, copy)
            y, s = target_of(y_of, here), sample_weight_of(s_of, here)
            is_row = i < rows[1]
            is_kept = is_row & (y != ignore_index) & (s != 0.0)
            _step(is_row, is_kept, places, y, s, y_of, before, places_before, slots, slot, memory, addresses)
        solve(slots, start, rows[1], y_of, n_classes, to, addresses)
    _end_streams(grad)


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_rows(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """The sum of the row losses over the divisor, and the first bad target, −1 if there is none.

    A bad target is found before anything is written. A divisor of 0 asks for that of the mean. The
    targets are None for soft ones, which are among the options; loss, lse and grad may be None.
    """
    n_rows, n_classes = n_rows_of(logits), n_classes_of(logits)
    divisor, scale, bad = survey(targets, n_rows, n_classes, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    row_losses = empty_float64(n_rows) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows)
        _loss_chunk(logits, targets, ignore_index, scale, options, row_losses, lse, grad, rows)
    return mean_of(row_losses, divisor), bad
