"""Rows whose classes do not lie side by side are worked on in a packed copy, one row at a time."""

from .compile import inline


@inline
def row_is_strided(array):
    return array.strides[1] != array.itemsize


@inline
def pack_row(array, i, packed):
    for j in range(array.shape[1]):
        packed[j] = array[i, j]


@inline
def unpack_row(packed, array, i):
    for j in range(array.shape[1]):
        array[i, j] = packed[j]


@inline
def zero_row(array, i):
    for j in range(array.shape[1]):
        array[i, j] = 0
