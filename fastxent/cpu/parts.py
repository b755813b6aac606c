"""One row shared out among threads: each takes a part, a stretch of whole blocks.

What comes out is what `row` gives, to the bit: what the blocks add up to is put together in their order,
whichever thread has summed them.
"""

from ..simd import empty_float64, get, put
from .block_logits import block_after, block_at
from .compile import formula, inline
from .flattened import Flattened
from .row import sums_of_block
from .shape import block_length, end_of_block, n_classes_of, number_of_blocks, rows_of_chunk
from .sums import Sums, plus_block

_SUMS = Flattened(Sums)


@formula
def memory_for_sums(logits):
    """Of each block of a row."""
    return empty_float64(_SUMS.count * number_of_blocks(n_classes_of(logits), logits))


@formula
def part_of_thread(thread, n_threads, z, n_classes):
    """The first class, and that after the last."""
    first, stop = rows_of_chunk(thread, n_threads, number_of_blocks(n_classes, z))
    return first * block_length(z), min(stop * block_length(z), n_classes)


@formula
def _put_sums(sums, start, z, block):
    at = _SUMS.count * (start // block_length(z))
    for i, number in enumerate(_SUMS.numbers(block)):
        put(sums, at + i, number)


@formula
def _sums_at(sums, start, z):
    at = _SUMS.count * (start // block_length(z))
    return _SUMS.named(get(sums, at + i) for i in range(_SUMS.count))


@inline
def sum_part(thread, n_threads, row, exps, memory, sums, options):
    """Sums each block of a part; other than that as `sum_row`."""
    z, n_classes = row.logits, row.n_classes
    first, last = part_of_thread(thread, n_threads, z, n_classes)
    logits, block_max = block_at(memory.computed, z, first, last, options)
    for start in range(first, last, block_length(z)):
        block, ahead = sums_of_block(row, logits, start, block_max, exps, memory, None, options)
        _put_sums(sums, start, z, block)
        following = min(start + block_length(z), last)
        logits, block_max = block_after(memory.computed, row, following, last, ahead, options)


@inline
def sum_of_parts(row, sums_of_blocks, options):
    """The sums over the row."""
    z = row.logits
    sums = _sums_at(sums_of_blocks, 0, z)
    for start in range(block_length(z), row.n_classes, block_length(z)):
        block, stop = _sums_at(sums_of_blocks, start, z), end_of_block(start, row.n_classes, z)
        sums = plus_block(sums, block, start, stop, row.target, row.u_y, z, options)
    return sums
