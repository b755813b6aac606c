"""softmax, log-softmax and log-sum-exp of a few rows with many classes: threads share out the classes."""

from numba import prange

from ..simd import fence, flush_subnormals, restore_subnormals, row_pointer
from .activation_rows import (
    derivatives_to,
    logsumexp_of,
    plain_row,
    put_log_probabilities,
    unfinished_softmax,
)
from .compile import formula, inline, kernel
from .derivatives import HighLow
from .finish import finish_classes
from .options import PLAIN
from .parts import Shared, memory_of_thread, part_of_thread, shared_for, sum_of_parts, sum_part
from .shape import n_classes_of, n_rows_of
from .strided import address, exps_row, put_or_none, row_at, streams_of


@formula
def _row(logits, i):
    return plain_row(row_pointer(logits, i), n_classes_of(logits))


@formula
def _sum_part(thread, n_threads, logits, i, exps, memory, shared):
    sum_part(thread, n_threads, _row(logits, i), exps, memory, address(shared.sums), PLAIN)


@formula
def _sums(logits, i, shared):
    return sum_of_parts(_row(logits, i), address(shared.sums), PLAIN)


@formula
def _derivatives_and_exps(logits, out, i, memory):
    to = derivatives_to(row_at(out, i, None, 0), row_at(logits, i, None, 0))
    return to, exps_row(to.grad, memory.exps, to.streams.grad)


@formula
def _sum_exps_part(thread, n_threads, logits, out, i, shared):
    memory = memory_of_thread(shared, thread, address(logits))
    _, exps = _derivatives_and_exps(logits, out, i, memory)
    _sum_part(thread, n_threads, logits, i, exps, memory, shared)


@inline
def _finish_part(thread, n_threads, logits, out, i, shared):
    control, memory = flush_subnormals(), memory_of_thread(shared, thread, address(logits))
    sums = _sums(logits, i, shared)
    to, exps = _derivatives_and_exps(logits, out, i, memory)
    row = _row(logits, i)
    unfinished = unfinished_softmax(row, exps, memory, to, sums.shift, sums.top, sums.others)
    first, last = part_of_thread(thread, n_threads, row.logits, row.n_classes)
    finish_classes(unfinished, first, last, PLAIN)
    restore_subnormals(control)
    fence()


@kernel("out")
def softmax_split(n_threads, logits, out):
    """As `softmax_rows`, to the bit, for arrays whose classes all lie side by side."""
    shared = Shared(*shared_for(logits, out, n_threads, PLAIN))  # as its docstring says
    for i in range(n_rows_of(logits)):
        for thread in prange(n_threads):
            _sum_exps_part(thread, n_threads, logits, out, i, shared)
        for thread in prange(n_threads):
            _finish_part(thread, n_threads, logits, out, i, shared)


@inline
def _subtract_part(thread, n_threads, logits, i, lse, lse_low, out):
    row, place = row_at(logits, i, None, 0), row_at(out, i, None, 0)
    first, last = part_of_thread(thread, n_threads, row.start, row.n_classes)
    streams = streams_of(row, place, None, None)
    put_log_probabilities(row.start, first, last, HighLow(lse, lse_low), place.start, streams)
    fence()


@kernel("lse", "out")
def logsumexp_split(n_threads, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for arrays whose classes all lie side by side."""
    shared = Shared(*shared_for(logits, None, n_threads, PLAIN))  # as its docstring says
    for i in range(n_rows_of(logits)):
        for thread in prange(n_threads):
            memory = memory_of_thread(shared, thread, address(logits))
            _sum_part(thread, n_threads, logits, i, None, memory, shared)
        row_lse, lse_low = logsumexp_of(_sums(logits, i, shared), row_pointer(logits, i))
        put_or_none(address(lse), i, row_lse)
        if out is not None:
            for thread in prange(n_threads):
                _subtract_part(thread, n_threads, logits, i, row_lse, lse_low, out)
