"""Log-softmax and log-sum-exp with one row a lane: the quicker way for few classes."""

import math

from numba import prange

from ..simd import broadcast, empty_row, first_lanes, lanes_of, load, maximum, store, where, widen
from .columns import columns_at, read_all, write_all
from .compile import inline, kernel, or_none
from .derivatives import rounded_to
from .exact_sum import BIAS, add, empty_sum, value_of
from .logsumexp import log_probability
from .options import PLAIN
from .outcome import high_and_low_lse, likelihood
from .row_lanes import long_tile_at, set_lanes
from .shape import n_classes_of, tiled_rows_of_chunk
from .shift import Shift, shift_for, shifted_exp
from .strided import address
from .tile import begin, end_begun


@inline
def _sum_of_others(tile, n_classes, top, shift):
    """Of exponentials, in float64: all but that of one largest class, beside which they would lose digits."""
    others, n_largest = empty_sum(broadcast(BIAS, tile)), broadcast(0.0, tile)
    begun = begin(tile, 0, shift, PLAIN)
    for j in range(n_classes):
        e, z, begun = end_begun(tile, j, min(j + 1, n_classes - 1), begun, shift, PLAIN)
        n_largest = where(z == top, n_largest + 1.0, n_largest)
        others = add(others, where(z == top, 0.0, e))
    largest = widen(shifted_exp(top, shift))
    ties = where(top < math.inf, (widen(n_largest) - 1.0) * largest, largest)
    return value_of(others) + ties


@or_none
def _put_log_softmax(out, n_classes, inside, tile, lse):
    lse = rounded_to(lse, tile)
    for j in range(n_classes):
        value = log_probability(load(tile, j * lanes_of(tile)), lse, out.first)
        store(tile, j * lanes_of(tile), value)
    write_all(out, n_classes, inside, tile)


@inline
def _logsumexp_tile(logits, to, out, start, n_classes, inside, tile):
    read_all(logits, n_classes, inside, tile)
    top = broadcast(-math.inf, tile)
    for j in range(n_classes):
        top = maximum(load(tile, j * lanes_of(tile)), top)
    shift = shift_for(top, tile)
    others = _sum_of_others(tile, n_classes, top, shift)
    of_top = likelihood(others, widen(top), Shift(widen(shift.offset), widen(shift.exponent)))
    lse = high_and_low_lse(of_top, widen(top))
    set_lanes(to, start, inside, lse.high)
    _put_log_softmax(out, n_classes, inside, tile, lse)


@inline
def _logsumexp_chunk(logits, lse, out, rows):
    lanes, n_classes = lanes_of(long_tile_at(address(logits))), n_classes_of(logits)
    memory = empty_row(lanes * max(1, n_classes), logits)  # the first class is begun unasked
    for start in range(rows[0], rows[1], lanes):
        n_lanes, tile = min(lanes, rows[1] - start), long_tile_at(address(memory))
        columns, inside = columns_at(logits, start, n_lanes, tile, None), first_lanes(n_lanes, tile)
        places = columns_at(out, start, n_lanes, tile, None)
        _logsumexp_tile(columns, address(lse), places, start, n_classes, inside, tile)


@kernel("lse", "out")
def logsumexp_lanes(n_chunks, logits, lse, out):
    """As `logsumexp_rows`, for few classes."""
    for chunk in prange(n_chunks):
        _logsumexp_chunk(logits, lse, out, tiled_rows_of_chunk(chunk, n_chunks, logits))
