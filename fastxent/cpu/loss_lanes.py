"""Cross-entropy with one row a lane, so that nothing is ever summed across lanes.

The quicker way for few classes, and for classes that lie apart in memory.
"""

import math

from numba import prange

from ..simd import (
    broadcast,
    empty_float64,
    empty_row,
    first_lanes,
    flush_subnormals,
    lanes_of,
    load,
    load_masked,
    maximum,
    narrow,
    restore_subnormals,
    store,
    to_float,
    widen,
)
from .columns import columns_at, fetch, put_back, read_all, write_all
from .compile import formula, inline, kernel
from .derivatives import factors_for
from .exact_sum import add, bias_for, empty_sum, value_of
from .options import in_addresses, transformed
from .outcome import RowSums, outcome_of, slopes_of
from .row_lanes import get_lanes, long_tile_at, row_outputs, set_row_lanes
from .shape import n_classes_of, n_rows_of, tiled_rows_of_chunk
from .shift import Shift, shift_for, shifted_exp
from .strided import address, addresses, scratch_transformed
from .tally import empty_tally, in_float64, reference_for, tallied
from .targets import survey
from .tile import (
    Tile,
    are_targets,
    begin,
    derivatives_of,
    derivatives_of_targets,
    end_begun,
    exponentials,
    put_logits,
    with_target,
)
from .tile_blocks import finish_blocks, memory_for_blocks, sum_blocks
from .total import flatten_mean_of_no_weight, mean_of

FEW_CLASSES = 63
"""Up to here a lane a row is the quicker way, where classes lie side by side: more fill four vectors."""


@formula
def _row_max(tile, z_y, other_max):
    return other_max if tile.y is None else maximum(z_y, other_max)


@inline
def _sum_tile(tile, options):
    """The sums over every row; the exponentials stay in the tile."""
    z = tile.exps
    other_max, z_y, w_y = broadcast(-math.inf, z), broadcast(0.0, z), widen(broadcast(1.0, z))
    read_all(tile.logits, tile.n_classes, tile.kept, z)
    fetch(tile.soft_targets, tile.n_classes, tile.kept)
    number = broadcast(0.0, z)
    for j in range(tile.n_classes):
        column, is_target = load(z, j * lanes_of(z)), are_targets(tile, number)
        other_max = maximum(put_logits(tile, j, column, is_target, options), other_max)
        z_y, w_y = with_target(z_y, w_y, column, is_target, j, options)
        number += 1.0
    row_max = _row_max(tile, z_y, other_max)
    top = transformed(row_max, options)
    shift, reference = shift_for(top, z), reference_for(top, z)
    other = transformed(other_max, options)
    bias = bias_for(other, shift, tile.y, tile.grad, options)
    others, tally, number = empty_sum(bias), empty_tally(bias), broadcast(0.0, z)
    begun = begin(z, 0, shift, options)
    for j in range(tile.n_classes):
        e, u, begun = end_begun(z, j, min(j + 1, tile.n_classes - 1), begun, shift, options)
        e, terms = exponentials(e, u, tile, j, are_targets(tile, number), z_y, reference, options)
        others = add(others, e)
        tally = tallied(tally, terms, options)
        number += 1.0
    return RowSums(
        value_of(others),
        widen(transformed(z_y, options)),
        w_y,
        widen(top),
        widen(shifted_exp(top, shift)),
        Shift(widen(shift.offset), widen(shift.exponent)),
        in_float64(tally),
    )


@inline
def _finish_tile(tile, sums, slopes, row_factor, options):
    """The derivatives, from the exponentials."""
    factors = factors_for(slopes, row_factor, 1.0, tile.exps)
    of_targets = derivatives_of_targets(tile, sums, slopes, row_factor, options)
    top, number = narrow(sums.top, tile.exps), broadcast(0.0, tile.exps)
    for j in range(tile.n_classes):
        g = derivatives_of(tile, j, are_targets(tile, number), top, factors, of_targets, options)
        store(tile.exps, j * lanes_of(tile.exps), g)
        number += 1.0
    write_all(tile.grad, tile.n_classes, tile.inside, tile.exps)
    put_back(tile.hess, tile.n_classes, tile.inside)
    put_back(tile.targets_grad, tile.n_classes, tile.inside)


@formula
def _kept(inside, y, s, sample_weight, ignore_index):
    """Which lanes hold a row that is read."""
    kept = inside
    if y is not None:
        kept = y != float(ignore_index)  # by way of float64, as y was rounded
    if sample_weight is not None:
        kept = (s != 0.0) & kept
    return kept


@formula
def _loss_tile(tile, memory, s, scale, options, start, outputs):
    sums = _sum_tile(tile, options) if memory is None else sum_blocks(memory, tile, options)
    if tile.grad is not None:
        slopes, row_factor = slopes_of(tile.y, tile.n_classes, sums, options), s * scale
        if memory is None:
            _finish_tile(tile, sums, slopes, row_factor, options)
        else:
            finish_blocks(tile, memory, sums, slopes, row_factor, options)
    outcome = outcome_of(tile.y, tile.n_classes, sums, options)
    set_row_lanes(outputs, start, tile.inside, tile.kept, s, outcome, sums.tally.above, tile.n_classes)


@formula
def _targets(targets, start, inside, ignore_index, z):
    """As floats of z's dtype, rounded by way of float64; `ignore_index` where no row is."""
    if targets is None:
        return None
    return narrow(to_float(load_masked(targets, start, inside, ignore_index)), z)


@formula
def _tile_at(memory, is_long):
    return address(memory) if memory is None or is_long is None else long_tile_at(address(memory))


@formula
def _transposed(array, logits, lanes, in_blocks):
    """Memory for few classes; many would be far again until they are used."""
    if array is None or in_blocks is not None:
        return None
    return empty_row(lanes * n_classes_of(logits), logits)


@inline
def loss_in_lanes(
    logits,
    targets,
    ignore_index,
    scale,
    options,
    loss,
    lse,
    lse_low,
    grad,
    rows,
    is_long=None,
    in_blocks=None,
):
    """Long tiles do not go in blocks, whose sums depend on the number of lanes; both are True or None."""
    lanes, n_classes = lanes_of(_tile_at(logits, is_long)), n_classes_of(logits)
    exps = empty_row(lanes * max(1, n_classes), logits)  # the first class is begun unasked
    scratch_u = scratch_transformed(grad, lanes * n_classes, options)
    transposed_soft_targets = _transposed(options.soft_targets, logits, lanes, in_blocks)
    transposed_hess = _transposed(options.hess, logits, lanes, in_blocks)
    transposed_targets_grad = _transposed(options.targets_grad, logits, lanes, in_blocks)
    y_of, s_of = address(targets), address(options.sample_weight)
    outputs = row_outputs(loss, lse, lse_low, options)
    addressed = in_addresses(options)
    memory = None if in_blocks is None else memory_for_blocks(logits)
    control = flush_subnormals()
    for start in range(rows[0], rows[1], lanes):
        n_lanes, z = min(lanes, rows[1] - start), _tile_at(exps, is_long)
        inside = first_lanes(n_lanes, z)
        y = _targets(y_of, start, inside, ignore_index, z)
        s = get_lanes(s_of, 1.0, start, inside, z)
        tile = Tile(
            n_classes,
            columns_at(logits, start, n_lanes, z, None),
            columns_at(options.soft_targets, start, n_lanes, z, _tile_at(transposed_soft_targets, is_long)),
            columns_at(grad, start, n_lanes, z, None),
            columns_at(options.hess, start, n_lanes, z, _tile_at(transposed_hess, is_long)),
            columns_at(options.targets_grad, start, n_lanes, z, _tile_at(transposed_targets_grad, is_long)),
            y,
            inside,
            _kept(inside, y, s, s_of, ignore_index),
            z,
            address(scratch_u),
        )
        _loss_tile(tile, addresses(memory), s, scale, addressed, start, outputs)
    restore_subnormals(control)


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_lanes(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_rows`, for few classes."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    row_losses = empty_float64(n_rows_of(logits)) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        loss_in_lanes(logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows)
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_long_tiles(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_lanes`, to the bit, for batches that fill long tiles."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    row_losses = empty_float64(n_rows_of(logits)) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        loss_in_lanes(
            logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows, is_long=True
        )
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_columns(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_rows`, to the bit, for rows whose classes lie apart."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    row_losses = empty_float64(n_rows_of(logits)) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        loss_in_lanes(
            logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows, in_blocks=True
        )
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad
