"""Cross-entropy over many classes: row by row, classes across the lanes."""

import math
from typing import Any, NamedTuple

from numba import prange

from ..simd import (
    broadcast,
    empty_float64,
    fence,
    first_lanes,
    get,
    lanes_of,
    put,
    reduce_max,
    store,
    store_masked,
    store_past_caches,
    where,
    wide,
    widen,
)
from .compile import formula, inline, kernel
from .derivatives import (
    factors_for,
    gradient,
    second_derivative,
    target_gradient,
    target_second_derivative,
    targets_gradient,
)
from .options import in_addresses
from .outcome import outcome_of
from .row import (
    Row,
    in_memory,
    memory_for,
    ratio_of_block,
    sum_exp,
    transformed_scalar,
)
from .row_block import BLOCK, mass_at, target_mass
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .shift import shifted_exp
from .strided import (
    Place,
    RowOutputs,
    address,
    exps_row,
    packed_row,
    put_or_none,
    row_at,
    scratch_exps,
    scratch_kept,
    set_to_zero,
    streams_of,
    to_read,
    to_write,
    written,
)
from .targets import sample_weight_of, survey, target_of, weight_of
from .total import mean_of
from .vectors import full_vectors_end, load_inside, store_inside, value_at


@inline
def _store_once(p, j, vector, inside, past_caches):
    if inside is None:
        if past_caches:
            store_past_caches(p, j, vector)
        else:
            store(p, j, vector)
    else:
        store_masked(p, j, vector, inside)


@formula
def _finish_vector(
    row, exps, kept, grad, hess, targets_grad, streams, j, inside, like, factors, top, options
):
    """The derivatives of one vector of classes."""
    e = load_inside(exps, j, inside, like)
    u = value_at(kept, 0.0, j, inside, like)
    m = mass_at(row, j, inside, options.label_smoothing, like)
    w = value_at(row.weight, 1.0, j, inside, like)
    g = gradient(e, u, m, factors, options.label_smoothing, options.logit_scale, options.softcap)
    store_inside(grad, j, g, inside)
    if hess is not None:
        h = second_derivative(e, factors, options.z_loss, options.logit_scale)
        _store_once(hess, j, h, inside, streams.hess)
    if targets_grad is not None:
        t = targets_gradient(top - u, w, factors, options.label_smoothing)
        _store_once(targets_grad, j, t, inside, streams.targets_grad)


@inline
def _finish_row(
    row, exps, kept, grad, hess, targets_grad, streams, sums, shifts, outcome, row_factor, options
):
    """The derivatives of all classes, from their exponentials."""
    block, like, top = BLOCK * lanes_of(exps), wide(exps), sums.top
    for start in range(0, row.n_classes, block):
        stop = min(start + block, row.n_classes)
        block_ratio = ratio_of_block(shifts, start // block, sums.shift)
        factors = factors_for(outcome, row_factor, block_ratio, exps)
        first = start
        if streams is not None and streams.lead > 0:
            first = min(start + streams.lead, stop)
            inside = first_lanes(first - start, like)
            _finish_vector(
                row, exps, kept, grad, hess, targets_grad, streams, start, inside, like, factors, top, options
            )
        full = full_vectors_end(like, first, stop)
        for j in range(first, full, lanes_of(like)):
            _finish_vector(
                row, exps, kept, grad, hess, targets_grad, streams, j, None, like, factors, top, options
            )
        if full < stop:
            inside = first_lanes(stop - full, like)
            _finish_vector(
                row, exps, kept, grad, hess, targets_grad, streams, full, inside, like, factors, top, options
            )


@formula
def _finish_target(row, grad, hess, w_y, outcome, row_factor, options):
    """The derivatives of an integer target's class, where p − 1 would have cancelled."""
    ls, logit_scale = options.label_smoothing, options.logit_scale
    m_y = target_mass(w_y, row.n_classes, ls)
    put(
        grad, row.target, target_gradient(outcome, m_y, row.u_y, row_factor, ls, logit_scale, options.softcap)
    )
    if hess is not None:
        put(hess, row.target, target_second_derivative(outcome, row_factor, options.z_loss, logit_scale))


@formula
def _loss_row(row, targets, exps, grad, hess, targets_grad, streams, kept, memory, row_factor, options):
    """The outcome of a row and how many logits are above the target's; the derivatives in their rows."""
    sums = sum_exp(row, exps, kept, memory, options)
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
    if grad is not None:
        _finish_row(
            row,
            exps,
            kept,
            grad,
            hess,
            targets_grad,
            streams,
            sums,
            memory.shifts,
            outcome,
            row_factor,
            options,
        )
        if targets is not None:
            _finish_target(row, grad, hess, w_y, outcome, row_factor, options)
    # Lanes beyond the row are above a NaN too.
    return outcome, where(row.z_y == row.z_y, sums.tally.above, float(row.n_classes))


@inline
def _loss_of(places, y, s, targets, exps, kept, memory, scale, options):
    """The row at these places."""
    z = to_read(places.logits)
    z_y = get(z, y) if y >= 0 else math.nan
    u_y = transformed_scalar(z_y, z, options.logit_scale, options.softcap)
    soft_targets = to_read(places.soft_targets)
    grad, hess, targets_grad = to_write(places.grad), to_write(places.hess), to_write(places.targets_grad)
    row = Row(z, places.logits.n_classes, y, z_y, u_y, soft_targets, options.weight, grad)
    exps = exps_row(grad, exps)
    streams = streams_of(places.hess, places.targets_grad)
    outcome, above = _loss_row(
        row, targets, exps, grad, hess, targets_grad, streams, kept, memory, s * scale, options
    )
    written(places.grad)
    written(places.hess)
    written(places.targets_grad)
    return outcome, above


class _Places(NamedTuple):
    """Of one row in every array."""

    logits: Place
    soft_targets: Any
    grad: Any
    hess: Any
    targets_grad: Any


@formula
def _end_streams(hess, targets_grad):
    if hess is not None or targets_grad is not None:
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
    exps, kept = scratch_exps(grad), scratch_kept(grad, n_classes_of(logits), options)
    memory = memory_for(logits, options)
    y_of, s_of = address(targets), address(options.sample_weight)
    to = RowOutputs(address(loss), address(lse), address(options.entropy), address(options.rank))
    addresses = in_addresses(options)
    for i in range(rows[0], rows[1]):
        y, s = target_of(y_of, i), sample_weight_of(s_of, i)
        places = _Places(
            row_at(logits, i, packed_logits),
            row_at(soft_targets, i, packed_soft_targets),
            row_at(grad, i, packed_grad),
            row_at(hess, i, packed_hess),
            row_at(targets_grad, i, packed_targets_grad),
        )
        if y != ignore_index and s != 0.0:
            outcome, above = _loss_of(
                places, y, s, y_of, address(exps), address(kept), in_memory(memory), scale, addresses
            )
            _set_row(i, to, s * outcome.loss, outcome.lse, outcome.entropy, above)
        else:
            _set_row(i, to, 0.0, 0.0, 0.0, float(n_classes_of(logits)))
            set_to_zero(places.grad)
            set_to_zero(places.hess)
            set_to_zero(places.targets_grad)
    _end_streams(addresses.hess, addresses.targets_grad)


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
