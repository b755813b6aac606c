"""softmax: the gradient of cross-entropy without targets, which is the log-sum-exp."""

import math

from numba import prange

from .compile import kernel
from .loss_lanes import loss_in_lanes
from .loss_rows import loss_by_row
from .loss_short import loss_of_short_rows
from .loss_split import finish_part, solve_row, sum_part_of_row
from .options import PLAIN
from .parts import memory_for_sums
from .row import Memory, memory_for
from .shape import n_rows_of, rows_of_chunk, tiled_rows_of_chunk
from .slots import Slots, empty_slots


@kernel("out")
def softmax_rows(n_chunks, logits, out):
    """exp(z_j) / Σ_k exp(z_k) of each row, in out, which may be the logits."""
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows_of(logits))
        loss_by_row(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, rows=rows)


@kernel("out")
def softmax_short(n_chunks, logits, out):
    """As `softmax_rows`, to the bit, for short rows whose classes lie side by side."""
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows_of(logits))
        loss_of_short_rows(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, rows=rows)


@kernel("out")
def softmax_lanes(n_chunks, logits, out):
    """As `softmax_rows`, for few classes."""
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        loss_in_lanes(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, rows=rows, is_long=True)


@kernel("out")
def softmax_columns(n_chunks, logits, out):
    """As `softmax_rows`, to the bit, for rows whose classes lie apart."""
    for chunk in prange(n_chunks):
        rows = tiled_rows_of_chunk(chunk, n_chunks, logits)
        loss_in_lanes(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, rows=rows, in_blocks=True)


@kernel("out")
def softmax_split(n_threads, logits, out):
    """As `softmax_rows`, to the bit, for arrays whose classes all lie side by side."""
    # Named tuples made by their class, as the docstring of `Memory` says.
    memory, slots = Memory(*memory_for(logits, out, 1, n_threads, PLAIN)), Slots(*empty_slots())
    block_sums = memory_for_sums(logits)
    for i in range(n_rows_of(logits)):
        for thread in prange(n_threads):
            sum_part_of_row(thread, n_threads, logits, None, i, math.nan, PLAIN, out, memory, block_sums)
        solve_row(logits, None, True, i, math.nan, PLAIN, None, None, None, out, block_sums, slots)
        for thread in prange(n_threads):
            finish_part(thread, n_threads, logits, None, i, 1.0, PLAIN, out, memory, slots)
