"""The rows of a tile, one a lane, class by class: side by side in memory or wherever they are."""

from typing import Any, NamedTuple

from ..simd import (
    advance,
    gather,
    lanes_of,
    load,
    load_four,
    load_masked,
    pointer,
    prefetch,
    row_offsets,
    row_pointer,
    scatter,
    store,
    store_four,
    store_masked,
)
from .compile import formula, inline, or_none


class Columns(NamedTuple):
    """The rows of a tile in an array, class by class."""

    array: Any  # address
    first: Any  # that of the first row
    offsets: Any  # bytes from the array to the row of each lane
    stride: int  # bytes from class to class
    row_stride: int  # and from row to row, where all lie on one axis
    are_neighbours: bool  # whether the rows of the lanes are, in memory
    in_rows: bool  # whether the classes of each are, and the rows as far apart
    n_rows: int  # at most as many as there are lanes
    transposed: Any  # a tile for those in rows, which take less four at a time; may be None


@formula
def columns_at(array, start, n_lanes, z, transposed):
    """The rows from `start`, one in each lane of z (see `strided` for why there is no branch here)."""
    if array is None:
        return None
    axis = array.ndim - 2
    stride, row_stride = array.strides[axis + 1], array.strides[axis]
    on_one_axis = n_lanes <= array.shape[axis] - start % array.shape[axis]
    return Columns(
        pointer(array),
        row_pointer(array, start),
        row_offsets(array, start, z),
        stride,
        row_stride,
        (row_stride == array.itemsize) & on_one_axis,
        (stride == array.itemsize) & on_one_axis,
        n_lanes,
        transposed,
    )


@inline
def _expect(column, z):
    """Every class is a stream of its own, and processors foresee no more than some 32."""
    prefetch(column, 2 * lanes_of(z) - 1, z)  # to the end of the next tile


@inline
def _read_there(columns, j, mask, z):
    if columns.are_neighbours:
        p = advance(columns.first, j * columns.stride)
        column = load_masked(p, 0, mask, 0.0, z)
        _expect(p, z)
    else:
        column = gather(columns.array, j * columns.stride, columns.offsets, mask, 0.0, z)
    return column


@inline
def _read_transposed(columns, j, mask, z):
    return load(columns.transposed, j * lanes_of(z)) if columns.in_rows else _read_there(columns, j, mask, z)


@formula
def read(columns, j, mask, z):
    """Class j of every lane where the mask is true, 0 elsewhere, in the dtype that z is computed in."""
    function = _read_there if columns.transposed is None else _read_transposed
    return function(columns, j, mask, z)


@inline
def _write_there(columns, j, column, mask):
    if columns.are_neighbours:
        p = advance(columns.first, j * columns.stride)
        store_masked(p, 0, column, mask)
        _expect(p, column)
    else:
        scatter(columns.array, j * columns.stride, columns.offsets, column, mask)


@inline
def _write_transposed(columns, j, column, mask):
    if columns.in_rows:
        store(columns.transposed, j * lanes_of(column), column)
    else:
        _write_there(columns, j, column, mask)


@formula
def write(columns, j, column, mask):
    function = _write_there if columns.transposed is None else _write_transposed
    function(columns, j, column, mask)


@formula
def _read_four(columns, j, n_rows, tile):
    vectors = load_four(advance(columns.first, j * columns.stride), columns.row_stride, n_rows, tile)
    for i in range(4):
        store(tile, (j + i) * lanes_of(tile), vectors[i])


@inline
def read_all(columns, n_classes, mask, tile):
    """Every class into the tile, a vector each."""
    lanes, last_four = lanes_of(tile), n_classes - 4
    if not columns.in_rows or last_four < 0:
        for j in range(n_classes):
            store(tile, j * lanes, _read_there(columns, j, mask, tile))
    elif columns.n_rows == lanes:  # known to the compiler: the addresses are constants
        for four in range(0, n_classes, 4):
            _read_four(columns, min(four, last_four), lanes, tile)
    else:
        for four in range(0, n_classes, 4):
            _read_four(columns, min(four, last_four), columns.n_rows, tile)


@formula
def _write_four(columns, j, n_rows, tile):
    lanes = lanes_of(tile)
    vectors = tuple(load(tile, (j + i) * lanes) for i in range(4))
    store_four(advance(columns.first, j * columns.stride), columns.row_stride, n_rows, vectors)


@inline
def write_all(columns, n_classes, mask, tile):
    """Every class from the tile."""
    lanes, last_four = lanes_of(tile), n_classes - 4
    if not columns.in_rows or last_four < 0:
        for j in range(n_classes):
            _write_there(columns, j, load(tile, j * lanes), mask)
    elif columns.n_rows == lanes:  # known to the compiler: the addresses are constants
        for four in range(0, n_classes, 4):
            _write_four(columns, min(four, last_four), lanes, tile)
    else:
        for four in range(0, n_classes, 4):
            _write_four(columns, min(four, last_four), columns.n_rows, tile)


@or_none
def fetch(columns, n_classes, mask):
    """Into the tile that `read` takes them from, if there is one."""
    if columns.in_rows:
        read_all(columns, n_classes, mask, columns.transposed)


@or_none
def put_back(columns, n_classes, mask):
    """From the tile that `write` put them into, if there is one."""
    if columns.in_rows:
        write_all(columns, n_classes, mask, columns.transposed)
