"""The rows of a tile, one a lane, class by class: side by side in memory or wherever they are."""

from typing import Any, NamedTuple

from ..simd import (
    advance,
    gather,
    load_masked,
    pointer,
    row_offsets,
    row_pointer,
    scatter,
    store_masked,
)
from .compile import inline, or_none


class Columns(NamedTuple):
    """The rows of a tile in an array, class by class."""

    array: Any  # address
    first: Any  # that of the first row
    offsets: Any  # bytes from the array to the row of each lane
    stride: int  # bytes from class to class
    side_by_side: bool  # whether the rows of the lanes are neighbours in memory


@or_none
def columns_at(array, start, n_lanes):
    """The rows from `start` (see `strided` for why there is no branch here)."""
    axis = array.ndim - 2
    run = array.shape[axis] - start % array.shape[axis]
    return Columns(
        pointer(array, 0),
        row_pointer(array, start),
        row_offsets(array, start),
        array.strides[axis + 1],
        (array.strides[axis] == array.itemsize) & (n_lanes <= run),
    )


@inline
def read(columns, j, mask, z):
    """Class j of every lane where the mask is true, 0 elsewhere, in the dtype that z is computed in."""
    if columns.side_by_side:
        column = load_masked(advance(columns.first, j * columns.stride), 0, mask, 0.0, z)
    else:
        column = gather(columns.array, j * columns.stride, columns.offsets, mask, 0.0, z)
    return column


@inline
def write(columns, j, column, mask):
    if columns.side_by_side:
        store_masked(advance(columns.first, j * columns.stride), 0, column, mask)
    else:
        scatter(columns.array, j * columns.stride, columns.offsets, column, mask)
