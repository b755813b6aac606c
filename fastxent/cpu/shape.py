"""Rows are counted over all axes of an array but the last, which is that of the classes.

A chunk is the rows that one thread takes, and that share its working memory; a block is the part of a row
that stays in the first-level cache, and whose exponentials have one shift.
"""

from ..simd import lanes_of
from .compile import formula

BLOCK = 128
"""Vectors in a block: 8 KiB of float32 or float64."""

AHEAD = 2 * BLOCK
"""Vectors from one that is read to one that is asked for, beyond the block in which maxima are found."""


@formula
def n_rows_of(array):
    n_rows = 1
    for size in array.shape[:-1]:
        n_rows *= size
    return n_rows


@formula
def n_classes_of(array):
    return array.shape[array.ndim - 1]


@formula
def rows_of_chunk(chunk, n_chunks, n_rows):
    """The first, and that after the last; of an index of prange, which is unsigned."""
    return int(chunk) * n_rows // n_chunks, (int(chunk) + 1) * n_rows // n_chunks


@formula
def tiled_rows_of_chunk(chunk, n_chunks, array):
    """As `rows_of_chunk`, in whole tiles: vectors of rows side by side stay aligned."""
    lanes, n_rows = lanes_of(array), n_rows_of(array)
    first, stop = rows_of_chunk(chunk, n_chunks, (n_rows + lanes - 1) // lanes)
    return first * lanes, min(stop * lanes, n_rows)


@formula
def nearest_of(i, rows):
    """The nearest to row i, of the rows from the first to before the last."""
    return max(rows[0], min(i, rows[1] - 1))


@formula
def block_length(z):
    """In classes."""
    return BLOCK * lanes_of(z)


@formula
def number_of_blocks(n_classes, z):
    return (n_classes + block_length(z) - 1) // block_length(z)


@formula
def end_of_block(start, n_classes, z):
    """That of the block which starts there; `start` if there are no classes left."""
    return max(start, min(start + block_length(z), n_classes))
