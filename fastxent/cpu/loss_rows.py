"""Cross-entropy over many classes: row by row, classes across the lanes."""

import math
from typing import Any, NamedTuple

from numba import prange

from ..simd import broadcast, empty_float64, fence, get, put, reduce_max, where, widen
from .compile import formula, inline, kernel
from .finish import Derivatives, Unfinished, finish, none_unfinished
from .options import in_addresses
from .outcome import outcome_of
from .row import Row, in_memory, memory_for, sum_exp, transformed_scalar
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .shift import shifted_exp
from .strided import (
    Place,
    RowOutputs,
    Streams,
    address,
    exps_row,
    packed_row,
    put_or_none,
    row_at,
    set_to_zero,
    streams_of,
    to_read,
    to_write,
    written,
)
from .targets import NO_CLASS, sample_weight_of, survey, target_of, weight_of
from .total import mean_of


class _Places(NamedTuple):
    """Of one row in every array."""

    logits: Place
    soft_targets: Any
    grad: Any
    hess: Any
    targets_grad: Any


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
def _written(places):
    written(places.grad)
    written(places.hess)
    written(places.targets_grad)


@formula
def _class_or_none(targets, y):
    return None if targets is None else y


@formula
def _none_unfinished(logits, soft_targets, targets, weight, grad, hess, targets_grad, memory):
    if grad is None:
        return None
    to = Derivatives(Streams(0, False, False, False), address(grad), address(hess), address(targets_grad))
    row = Row(address(logits), 0, _class_or_none(targets, NO_CLASS), 0.0, 0.0, address(soft_targets), weight)
    return none_unfinished(row, _exps_at(to, memory), memory, to)


@formula
def _loss_row(row, targets, to, before, memory, row_factor, options):
    """The outcome of a row, how many logits are above the target's, and the row, its derivatives to come."""
    exps = _exps_at(to, memory)
    sums = sum_exp(row, exps, memory, before, options)
    e_top = widen(reduce_max(shifted_exp(broadcast(sums.top, row.logits), sums.shift)))
    w_y = weight_of(row.weight, targets, row.target)
    outcome = outcome_of(
        targets,
        sums.others,
        row.u_y,
        w_y,
        sums.top,
        e_top,
        sums.shift,
        sums.tally,
        options.label_smoothing,
        options.focal_gamma,
        options.z_loss,
    )
    # Lanes beyond the row are above a NaN too.
    above = where(row.z_y == row.z_y, sums.tally.above, float(row.n_classes))
    unfinished = None
    if to is not None:
        unfinished = Unfinished(row, exps, memory, to, w_y, sums.shift, sums.top, outcome, row_factor)
    return outcome, above, unfinished


@inline
def _loss_of(places, before, y, s, targets, memory, scale, options):
    """The row at these places, and the row before finished."""
    z = to_read(places.logits)
    z_y = get(z, y) if y >= 0 else math.nan
    u_y = transformed_scalar(z_y, z, options.logit_scale, options.softcap)
    soft_targets = to_read(places.soft_targets)
    row = Row(z, places.logits.n_classes, _class_or_none(targets, y), z_y, u_y, soft_targets, options.weight)
    return _loss_row(row, targets, _derivatives_at(places), before, memory, s * scale, options)


@formula
def _are_packed(places):
    """Whether the next row takes the memory that the derivatives of this one are made in, or of."""
    any_is = False
    for place in (places.soft_targets, places.grad, places.hess, places.targets_grad):
        if place is not None:
            any_is = any_is | place.is_strided
    return any_is


@formula
def _end_streams(grad):
    if grad is not None:
        fence()


@formula
def _set_row(i, to, loss, lse, entropy, above):
    put(to.loss, i, loss)
    put_or_none(to.lse, i, lse)
    put_or_none(to.entropy, i, entropy)
    put_or_none(to.rank, i, above)


@inline
def _loss_chunk(logits, targets, ignore_index, scale, options, loss, lse, grad, rows):
    hess, targets_grad, soft_targets = options.hess, options.targets_grad, options.soft_targets
    packed_logits, packed_soft_targets = packed_row(logits), packed_row(soft_targets)
    packed_grad, packed_hess, packed_targets_grad = (
        packed_row(grad),
        packed_row(hess),
        packed_row(targets_grad),
    )
    scratch = memory_for(logits, grad, options)
    y_of, s_of = address(targets), address(options.sample_weight)
    to = RowOutputs(address(loss), address(lse), address(options.entropy), address(options.rank))
    addresses, memory = in_addresses(options), in_memory(scratch)
    before = _none_unfinished(logits, soft_targets, y_of, addresses.weight, grad, hess, targets_grad, memory)
    for i in range(rows[0], rows[1]):
        y, s = target_of(y_of, i), sample_weight_of(s_of, i)
        places = _Places(
            row_at(logits, i, packed_logits),
            row_at(soft_targets, i, packed_soft_targets),
            row_at(grad, i, packed_grad),
            row_at(hess, i, packed_hess),
            row_at(targets_grad, i, packed_targets_grad),
        )
        is_kept = y != ignore_index and s != 0.0
        if is_kept:
            outcome, above, before = _loss_of(places, before, y, s, y_of, memory, scale, addresses)
            _set_row(i, to, s * outcome.loss, outcome.lse, outcome.entropy, above)
        else:
            _set_row(i, to, 0.0, 0.0, 0.0, float(n_classes_of(logits)))
            set_to_zero(places.grad)
            set_to_zero(places.hess)
            set_to_zero(places.targets_grad)
        if i + 1 == rows[1] or _are_packed(places):
            before = finish(before, addresses)
            if is_kept:
                _written(places)
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
