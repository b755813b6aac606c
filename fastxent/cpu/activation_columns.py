"""softmax, log-softmax, log-sum-exp of rows whose classes lie apart: cross-entropy without targets."""

from numba import prange

from ..simd import empty_float64, first_lanes, lanes_of
from .activation_rows import CACHED, log_probability, memory_for_low
from .columns import columns_at, read, write
from .compile import inline, kernel, or_none
from .derivatives import HighLow, rounded_to
from .loss_lanes import loss_chunk
from .options import PLAIN
from .row_lanes import get_lanes, lanes_in_tile, rows_of_tiles, tiles_of_chunk
from .shape import n_classes_of, n_rows_of
from .strided import address


@kernel("out")
def softmax_columns(n_chunks, logits, out):
    """As `softmax_rows`, to the bit, for rows whose classes lie apart."""
    for chunk in prange(n_chunks):
        tiles = tiles_of_chunk(chunk, n_chunks, logits)
        loss_chunk(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, in_blocks=True, tiles=tiles)


@inline
def _put_log_softmax_of_tile(out, logits, n_classes, inside, lse, z):
    lse = rounded_to(lse, z)
    for j in range(n_classes):
        write(out, j, log_probability(read(logits, j, inside, z), lse, out.first), inside)


@or_none
def _put_log_softmax(out, logits, lse, lse_low, tiles):
    z, lanes, n_rows = address(logits), lanes_of(logits), n_rows_of(logits)
    first, stop = rows_of_tiles(tiles, n_rows, lanes)
    for start in range(first, stop, lanes):
        n_lanes = lanes_in_tile(start, n_rows, lanes)
        inside = first_lanes(n_lanes, z)
        rows, places = columns_at(logits, start, n_lanes, z, None), columns_at(out, start, n_lanes, z, None)
        high = get_lanes(address(lse), 0.0, start, inside, z)
        low = get_lanes(address(lse_low), 0.0, start, inside, z)
        _put_log_softmax_of_tile(places, rows, n_classes_of(logits), inside, HighLow(high, low), z)


@inline
def _logsumexp_chunk(logits, lse, lse_low, out, tiles):
    step = max(1, CACHED // (n_classes_of(logits) * lanes_of(logits)))
    for first in range(tiles[0], tiles[1], step):
        cached = first, min(first + step, tiles[1])
        loss_chunk(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, in_blocks=True, tiles=cached)
        _put_log_softmax(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_columns(n_chunks, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for rows whose classes lie apart."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = memory_for_low(out)
    for chunk in prange(n_chunks):
        _logsumexp_chunk(logits, row_lse, lse_low, out, tiles_of_chunk(chunk, n_chunks, logits))
