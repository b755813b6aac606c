"""softmax, log-softmax and log-sum-exp, row by row."""

import math

from numba import prange

from ..simd import (
    broadcast,
    empty_float64,
    fence,
    first_lanes,
    flush_subnormals,
    lanes_of,
    load,
    load_masked,
    reduce_max,
    restore_subnormals,
    store_masked,
    wide,
    widen,
    without_subnormals,
)
from .compile import formula, inline, kernel, or_none
from .derivatives import HighLow, rounded_to
from .finish import Derivatives, Unfinished, finish
from .likelihood import high_and_low_lse, likelihood
from .loss_rows import loss_chunk
from .options import PLAIN
from .outcome import all_but_top, slopes_of_lse
from .row import Row, memory_for, sum_row
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .shift import Shift, shifted_exp
from .strided import (
    THROUGH_CACHES,
    address,
    addresses,
    exps_row,
    packed_rows,
    row_at,
    streams_of,
    to_read,
    to_write,
    written,
)
from .vectors import full_vectors_end, store_full


@formula
def plain_row(z, n_classes):
    return Row(z, n_classes, None, math.nan, math.nan, None, None, None)


@formula
def unfinished_softmax(row, exps, memory, to, shift, top, total):
    slopes = slopes_of_lse(total)
    return Unfinished(row, exps, memory.shifts, None, to, 0.0, shift, top, slopes, 1.0)


@formula
def derivatives_to(out, logits):
    return Derivatives(streams_of(logits, out, None, None), to_write(out), None, None)


@formula
def _softmax_row(logits, out, before, memory):
    """The row, its probabilities to come, and the row before finished."""
    to = derivatives_to(out, logits)
    exps, row = exps_row(to.grad, memory.exps, to.streams.grad), plain_row(to_read(logits), logits.n_classes)
    sums, _ = sum_row(row, math.nan, exps, memory, before, PLAIN)
    return unfinished_softmax(row, exps, memory, to, sums.shift, sums.top, sums.others)


@formula
def _none_before(logits, out, memory):
    """Before the first row: one of no classes, of the types that others have."""
    to = Derivatives(THROUGH_CACHES, address(out), None, None)
    row, exps = plain_row(address(logits), 0), exps_row(to.grad, memory.exps, False)
    return unfinished_softmax(row, exps, memory, to, Shift(0.0, 0.0), 0.0, 1.0)


@inline
def _softmax_chunk(logits, out, rows):
    packed, packed_out = packed_rows(logits, 1), packed_rows(out, 1)
    memory, control = memory_for(logits, out, 1, 1, PLAIN), flush_subnormals()
    before = _none_before(logits, out, addresses(memory))
    for i in range(rows[0], rows[1]):
        place = row_at(out, i, packed_out, 0)
        before = _softmax_row(row_at(logits, i, packed, 0), place, before, addresses(memory))
        if i + 1 == rows[1] or place.is_strided:
            before = finish(before, PLAIN)
            written(place, place.n_classes)
    restore_subnormals(control)
    fence()


@kernel("out")
def softmax_rows(n_chunks, logits, out):
    """exp(z_j) / Σ_k exp(z_k) of each row, in out, which may be the logits."""
    for chunk in prange(n_chunks):
        _softmax_chunk(logits, out, rows_of_chunk(chunk, n_chunks, n_rows_of(logits)))


@formula
def minus(x, number):
    """x less a number that is high and low in x's dtype."""
    return (x - number.high) - number.low


@formula
def log_probability(z, lse, out):
    """As it is stored at `out`; the log-sum-exp is high and low."""
    return without_subnormals(minus(z, lse), out)


@inline
def put_log_probabilities(z, start, stop, lse, out, streams):
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


@formula
def logsumexp_of(sums, z):
    """As the likelihood of the largest class, whose exponential is then taken in float64; high and low."""
    largest = widen(reduce_max(shifted_exp(broadcast(sums.top, z), sums.shift)))
    of_top = likelihood(all_but_top(sums.others, 0.0, largest), sums.top, sums.shift)
    return high_and_low_lse(of_top, sums.top)


CACHED = 2**16
"""Logits that are read a second time while they are in the second-level cache."""


@formula
def memory_for_low(out):
    """For what float64 lacks of each log-sum-exp, if log-softmax is made of them."""
    return None if out is None else empty_float64(n_rows_of(out))


@or_none
def _put_log_softmax(out, logits, lse, lse_low, rows):
    packed, packed_out = packed_rows(logits, 1), packed_rows(out, 1)
    for i in range(rows[0], rows[1]):
        row, place = row_at(logits, i, packed, 0), row_at(out, i, packed_out, 0)
        streams = streams_of(row, place, None, None)
        row_lse = HighLow(lse[i], lse_low[i])
        put_log_probabilities(to_read(row), 0, row.n_classes, row_lse, to_write(place), streams)
        written(place, row.n_classes)
    fence()


@inline
def _logsumexp_chunk(logits, lse, lse_low, out, rows):
    step = max(1, CACHED // n_classes_of(logits))
    for first in range(rows[0], rows[1], step):
        cached = first, min(first + step, rows[1])
        loss_chunk(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, rows=cached)
        _put_log_softmax(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_rows(n_chunks, logits, lse, out):
    """Log-sum-exp of each row in lse; the logits less that, log-softmax, in out. Either may be None."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = memory_for_low(out)
    for chunk in prange(n_chunks):
        _logsumexp_chunk(logits, row_lse, lse_low, out, rows_of_chunk(chunk, n_chunks, n_rows_of(logits)))
