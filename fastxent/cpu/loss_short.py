"""Cross-entropy over short rows: of a few dozen to a few hundred classes, side by side in memory.

A row is a chain: its largest logit comes before its first exponential, the last of these before its loss,
and that before its gradient. Over a short row a processor would wait for most of the time. So rows are
taken a set at a time, and two sets take turns: while the rows of one are summed, those of the other are
finished and replaced.
"""

from numba import prange

from ..simd import empty_float64, flush_subnormals, restore_subnormals, where
from .compile import inline, kernel
from .loss_row import NOT_PACKED, Arrays, places_at, set_derivatives_to_zero
from .options import in_addresses
from .row_lanes import row_outputs
from .row_set import Chunk, find_shifts, memory_for_sets, memory_of_row, memory_of_set, rows_in_set, solve
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .short_row import row_to_finish, row_to_sum, row_to_take, step
from .strided import address, addresses
from .targets import survey
from .total import flatten_mean_of_no_weight, mean_of

SHORT_ROW = 1024
"""Classes up to which this is the quicker way."""


@inline
def loss_of_short_rows(logits, targets, ignore_index, scale, options, loss, lse, lse_low, grad, rows):
    """Every row is taken in one round, summed in the next, and finished in that after.

    Here are the rows that are summed, there those that are finished and replaced.
    """
    n_classes = n_classes_of(logits)
    at_once = rows_in_set(n_classes, logits)
    memory = memory_for_sets(logits, grad, options)
    control = flush_subnormals()  # after what may raise a MemoryError
    arrays = Arrays(logits, options.soft_targets, grad, options.hess, options.targets_grad)
    y_of, s_of, addressed = address(targets), address(options.sample_weight), in_addresses(options)
    outputs = row_outputs(loss, lse, lse_low, options)
    chunk = Chunk(rows, n_classes, arrays, y_of, s_of, ignore_index, scale, addressed, outputs)
    which, first = 0, rows[0] - at_once
    stop = where(rows[0] < rows[1], rows[1] + at_once, first)
    for start in range(first, stop, at_once):
        here = memory_of_set(addresses(memory), which, n_classes)
        there = memory_of_set(addresses(memory), 1 - which, n_classes)
        which = 1 - which
        for slot in range(at_once):
            i = start + slot
            before, after = i - at_once, i + at_once
            row_here, row_there = memory_of_row(here, slot, n_classes), memory_of_row(there, slot, n_classes)
            to_take = row_to_take(chunk, after, row_there)
            to_sum = row_to_sum(chunk, i, row_here)
            to_finish = row_to_finish(chunk, before, row_there)
            step(to_take, to_sum, to_finish, addressed)
            if after < rows[1] and to_take.n_classes == 0:
                set_derivatives_to_zero(places_at(arrays, after, NOT_PACKED, 0))
        find_shifts(there, chunk)
        solve(here, start, chunk)
    restore_subnormals(control)


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_short(n_chunks, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_rows`, to the bit, for short rows whose classes lie side by side."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    n_rows = n_rows_of(logits)
    row_losses = empty_float64(n_rows) if loss is None else loss
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows)
        loss_of_short_rows(logits, targets, ignore_index, scale, options, row_losses, lse, None, grad, rows)
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad
