"""Rows are counted over all axes of an array but the last, which is that of the classes."""

from .compile import formula


@formula
def n_rows_of(array):
    n_rows = 1
    for size in array.shape[:-1]:
        n_rows *= size
    return n_rows


@formula
def n_classes_of(array):
    return array.shape[array.ndim - 1]
