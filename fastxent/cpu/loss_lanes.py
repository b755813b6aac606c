"""Cross-entropy over few classes: one row a lane, so that nothing is ever summed across lanes."""

import math

import numpy as np
from numba import prange

from ..simd import (
    broadcast,
    first_lanes,
    gather,
    lanes_of,
    load,
    load_masked,
    maximum,
    narrow,
    pointer,
    scatter,
    stack_array,
    store,
    store_masked,
    to_float,
    where,
    widen,
)
from .compile import inline, kernel
from .likelihood import likelihood
from .row import scaled
from .shift import Shift, shift_for, shifted_exp
from .targets import count
from .total import sum_of

MAX_CLASSES = 64
"""Up to here a lane a row is the quicker way; the tile of 64 vectors is 4 KiB."""

TILE_SIZE = MAX_CLASSES * 16


@inline
def loss_tile(logits, targets, ignore_index, scale, loss, lse, grad, start):
    """The rows from `start`, as many as there are lanes."""
    n_rows, n_classes = logits.shape
    z = pointer(logits, start)
    lanes = lanes_of(z)
    inside = first_lanes(n_rows - start, z)
    target = load_masked(pointer(targets, 0), start, inside, ignore_index)
    kept = target != ignore_index
    y = narrow(to_float(target), z)  # classes this small are exact, and compare in fewer instructions
    tile = stack_array(z, TILE_SIZE)

    row_max = broadcast(-math.inf, z)
    z_y = broadcast(0.0, z)
    for j in range(n_classes):
        column = gather(z, j * logits.strides[1], logits.strides[0], kept, 0.0)
        store(tile, j * lanes, column)
        row_max = maximum(column, row_max)
        z_y = where(y == j, column, z_y)

    shift = shift_for(row_max, z)
    others = widen(broadcast(0.0, z))
    for j in range(n_classes):
        e = shifted_exp(load(tile, j * lanes), shift)
        store(tile, j * lanes, e)
        others += widen(where(y == j, 0.0, e))

    row = likelihood(others, widen(z_y), Shift(widen(shift.offset), widen(shift.exponent)))
    store_masked(pointer(loss, 0), start, where(kept, row.loss, 0.0), inside)
    if lse is not None:
        store_masked(pointer(lse, 0), start, where(kept, row.lse, 0.0), inside)
    if grad is not None:
        factor = row.scale * scale
        high = narrow(factor, z)
        low = narrow(factor - widen(high), z)
        grad_y = narrow(-others * row.scale * scale, z)
        g = pointer(grad, start)
        for j in range(n_classes):
            column = where(y == j, grad_y, scaled(load(tile, j * lanes), high, low))
            scatter(g, j * grad.strides[1], grad.strides[0], where(kept, column, 0.0), inside)


@kernel("loss", "lse", "grad")
def cross_entropy_lanes(logits, targets, ignore_index, divisor, loss, lse, grad):
    """As `cross_entropy_rows`, for at most MAX_CLASSES classes."""
    n_rows, n_classes = logits.shape
    n_kept, bad = count(targets, n_classes, ignore_index)
    if bad >= 0:
        return 0.0, bad
    if divisor == 0:
        divisor = float(max(1, n_kept))
    row_losses = np.empty(n_rows) if loss is None else loss
    lanes = lanes_of(logits)
    for tile in prange((n_rows + lanes - 1) // lanes):
        start = np.int64(tile) * lanes
        loss_tile(logits, targets, ignore_index, 1.0 / divisor, row_losses, lse, grad, start)
    return sum_of(row_losses) / divisor, bad
