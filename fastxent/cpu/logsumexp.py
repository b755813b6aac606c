"""log-sum-exp, the loss of cross-entropy without targets, and log-softmax, the logits less that.

A stretch of rows is read a second time for log-softmax, while it is in the second-level cache.
"""

import math

from numba import prange

from ..simd import (
    empty_float64,
    fence,
    first_lanes,
    lanes_of,
    load,
    load_masked,
    row_pointer,
    store_masked,
    wide,
    without_subnormals,
)
from .columns import columns_at, read, write
from .compile import formula, inline, kernel, or_none
from .derivatives import HighLow, minus, rounded_to
from .loss_lanes import loss_in_lanes
from .loss_rows import loss_by_row
from .loss_short import loss_of_short_rows
from .loss_split import solve_row, sum_part_of_row
from .options import PLAIN
from .parts import memory_for_sums, part_of_thread
from .row import Memory, memory_for
from .row_lanes import get_lanes
from .shape import n_classes_of, n_rows_of, rows_of_chunk, tiled_rows_of_chunk
from .slots import Slots, empty_slots
from .strided import THROUGH_CACHES, address, packed_rows, row_at, streams_of, to_read, to_write, written
from .vectors import full_vectors_end, store_full

CACHED = 2**16
"""Logits of a stretch of rows."""


@formula
def _memory_for_low(out):
    """For what float64 lacks of each log-sum-exp, if log-softmax is made of them."""
    return None if out is None else empty_float64(n_rows_of(out))


@formula
def log_probability(z, lse, out):
    """As it is stored at `out`; the log-sum-exp is high and low."""
    return without_subnormals(minus(z, lse), out)


@inline
def _put_log_probabilities(z, start, stop, lse, out, streams):
    """Those of the classes from `start` on, to before `stop`; the log-sum-exp is high and low in float64."""
    like, lse = wide(z), rounded_to(lse, z)
    first = start + min(streams.lead, stop - start)
    full = full_vectors_end(like, first, stop)
    for edge in range(2):
        begin, end = (start, first) if edge == 0 else (full, stop)
        for j in range(begin, end, lanes_of(z)):
            inside = first_lanes(end - j, z)
            store_masked(out, j, log_probability(load_masked(z, j, inside, 0.0), lse, out), inside)
    for j in range(first, full, lanes_of(like)):
        store_full(out, j, log_probability(load(z, j, like), lse, out), streams.grad)


@or_none
def _put_rows(out, logits, lse, lse_low, rows):
    packed, packed_out = packed_rows(logits, 1), packed_rows(out, 1)
    for i in range(rows[0], rows[1]):
        row, place = row_at(logits, i, packed, 0), row_at(out, i, packed_out, 0)
        streams = streams_of(row, place, None, None)
        row_lse = HighLow(lse[i], lse_low[i])
        _put_log_probabilities(to_read(row), 0, row.n_classes, row_lse, to_write(place), streams)
        written(place, row.n_classes)
    fence()


@inline
def _chunk_of_rows(logits, lse, lse_low, out, rows):
    step = max(1, CACHED // n_classes_of(logits))
    for first in range(rows[0], rows[1], step):
        cached = first, min(first + step, rows[1])
        loss_by_row(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, rows=cached)
        _put_rows(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_rows(n_chunks, logits, lse, out):
    """Log-sum-exp of each row in lse; the logits less that, log-softmax, in out. Either may be None."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = _memory_for_low(out)
    for chunk in prange(n_chunks):
        _chunk_of_rows(logits, row_lse, lse_low, out, rows_of_chunk(chunk, n_chunks, n_rows_of(logits)))


@or_none
def _put_short_rows(out, logits, lse, lse_low, rows):
    for i in range(rows[0], rows[1]):
        z, row_lse = row_pointer(logits, i), HighLow(lse[i], lse_low[i])
        _put_log_probabilities(z, 0, n_classes_of(logits), row_lse, row_pointer(out, i), THROUGH_CACHES)


@inline
def _chunk_of_short_rows(logits, lse, lse_low, out, rows):
    step = CACHED // n_classes_of(logits)
    for first in range(rows[0], rows[1], step):
        cached = first, min(first + step, rows[1])
        loss_of_short_rows(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, rows=cached)
        _put_short_rows(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_short(n_chunks, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for short rows whose classes lie side by side."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = _memory_for_low(out)
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows_of(logits))
        _chunk_of_short_rows(logits, row_lse, lse_low, out, rows)


@inline
def _put_tile(out, logits, n_classes, inside, lse, z):
    lse = rounded_to(lse, z)
    for j in range(n_classes):
        write(out, j, log_probability(read(logits, j, inside, z), lse, out.first), inside)


@or_none
def _put_tiles(out, logits, lse, lse_low, rows):
    z, lanes = address(logits), lanes_of(logits)
    for start in range(rows[0], rows[1], lanes):
        n_lanes = min(lanes, rows[1] - start)
        columns, inside = columns_at(logits, start, n_lanes, z, None), first_lanes(n_lanes, z)
        places = columns_at(out, start, n_lanes, z, None)
        high = get_lanes(address(lse), 0.0, start, inside, z)
        low = get_lanes(address(lse_low), 0.0, start, inside, z)
        _put_tile(places, columns, n_classes_of(logits), inside, HighLow(high, low), z)


@inline
def _chunk_of_tiles(logits, lse, lse_low, out, rows):
    lanes = lanes_of(logits)
    step = lanes * max(1, CACHED // (n_classes_of(logits) * lanes))
    for first in range(rows[0], rows[1], step):
        cached = first, min(first + step, rows[1])
        loss_in_lanes(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, rows=cached, in_blocks=True)
        _put_tiles(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_columns(n_chunks, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for rows whose classes lie apart."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = _memory_for_low(out)
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        _chunk_of_tiles(logits, row_lse, lse_low, out, rows)


@inline
def _put_part(thread, n_threads, logits, i, lse, lse_low, out):
    row, place = row_at(logits, i, None, 0), row_at(out, i, None, 0)
    first, last = part_of_thread(thread, n_threads, row.start, row.n_classes)
    streams, row_lse = streams_of(row, place, None, None), HighLow(lse[i], lse_low[i])
    _put_log_probabilities(row.start, first, last, row_lse, place.start, streams)
    fence()


@kernel("lse", "out")
def logsumexp_split(n_threads, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for arrays whose classes all lie side by side."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = _memory_for_low(out)
    # Named tuples made by their class, as the docstring of `Memory` says.
    memory, slots = Memory(*memory_for(logits, None, 1, n_threads, PLAIN)), Slots(*empty_slots())
    block_sums = memory_for_sums(logits)
    for i in range(n_rows_of(logits)):
        for thread in prange(n_threads):
            sum_part_of_row(thread, n_threads, logits, None, i, math.nan, PLAIN, None, memory, block_sums)
        solve_row(logits, None, True, i, math.nan, PLAIN, None, row_lse, lse_low, None, block_sums, slots)
        if out is not None:
            for thread in prange(n_threads):
                _put_part(thread, n_threads, logits, i, row_lse, lse_low, out)
