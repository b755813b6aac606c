"""One row, its classes across the lanes: the walk that every kernel for many classes is made of.

A row is read from memory once. It is taken in blocks that stay in the first-level cache; while the
exponentials of one block are computed, the maximum of the next is found in the same loop, so the shift
of a block is known before its first exponential and none is ever computed twice. Exponentials are
stored under the shift of their block; `scale_row` turns them into probabilities afterwards.
"""

import math

from ..simd import (
    broadcast,
    first_lanes,
    fma,
    lanes_of,
    load,
    load_masked,
    maximum,
    narrow,
    only_lane,
    reduce_max,
    reduce_sum,
    store,
    store_masked,
    where,
    widen,
)
from .compile import inline
from .exact_sum import add, empty_sum, value_of
from .shift import Shift, ratio, shift_for, shifted_exp

BLOCK = 64
"""Vectors in a block: 4 KiB."""

CHUNK = 16384
"""Elements, in whole rows, that one thread takes at a time and that share its working memory."""


@inline
def rows_in_chunk(n_classes):
    return max(1, CHUNK // max(1, n_classes))


@inline
def n_blocks(logits):
    block = BLOCK * lanes_of(logits)
    return (logits.shape[1] + block - 1) // block


@inline
def full_vectors_end(z, start, stop):
    return stop - (stop - start) % lanes_of(z)


@inline
def max_of(z, stop):
    top = broadcast(-math.inf, z)
    full = full_vectors_end(z, 0, stop)
    for j in range(0, full, lanes_of(z)):
        top = maximum(load(z, j), top)
    if full < stop:
        top = maximum(load_masked(z, full, first_lanes(stop - full, z), -math.inf), top)
    return float(reduce_max(top))


@inline
def sum_exp(z, n_classes, left_out, out, shifts):
    """Sum of the shifted exponentials of all classes but one; the shift; the row maximum.

    `left_out` may be −1. With an `out`, which may be z, every exponential is stored there, and the
    shift of each block in `shifts`.
    """
    lanes = lanes_of(z)
    block = BLOCK * lanes
    row_max = max_of(z, min(block, n_classes))
    shift = shift_for(row_max, z)
    total = 0.0
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        full = full_vectors_end(z, start, stop)
        old, shift = shift, shift_for(row_max, z)
        if old != shift:
            total *= ratio(old, shift)
        if out is not None:
            shifts[start // block, 0] = shift.offset
            shifts[start // block, 1] = shift.exponent
        block_sum = empty_sum(z)
        ahead = broadcast(row_max, z)
        for j in range(start, full, lanes):
            e = shifted_exp(load(z, j), shift)
            # Past the row's last full vector that one is looked at again: a maximum does not mind.
            ahead = maximum(load(z, min(j + block, n_classes - lanes)), ahead)
            if out is not None:
                store(out, j, e)
            if j <= left_out < j + lanes:
                e = where(only_lane(left_out - j, z), 0.0, e)
            block_sum = add(block_sum, e)
        if full < stop:
            inside = first_lanes(stop - full, z)
            e = shifted_exp(load_masked(z, full, inside, -math.inf), shift)
            if out is not None:
                store_masked(out, full, e, inside)
            block_sum = add(block_sum, where(only_lane(left_out - full, z), 0.0, e))
        total += reduce_sum(value_of(block_sum))
        if stop < n_classes:
            row_max = float(reduce_max(ahead))
    return total, shift, row_max


@inline
def scaled(e, factor_high, factor_low):
    """e times a float64 factor in two parts of e's dtype: one rounding, not two."""
    return fma(e, factor_high, e * factor_low)


@inline
def scale_row(out, n_classes, factor, shifts, shift):
    """out *= factor, after bringing each block from its own shift to that of the row."""
    block = BLOCK * lanes_of(out)
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        full = full_vectors_end(out, start, stop)
        block_shift = Shift(shifts[start // block, 0], shifts[start // block, 1])
        block_factor = factor if block_shift == shift else factor * ratio(block_shift, shift)
        high = narrow(block_factor, out)
        low = narrow(block_factor - widen(high), out)
        for j in range(start, full, lanes_of(out)):
            store(out, j, scaled(load(out, j), high, low))
        if full < stop:
            inside = first_lanes(stop - full, out)
            store_masked(out, full, scaled(load_masked(out, full, inside, 0.0), high, low), inside)
