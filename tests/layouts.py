"""Arrays equal to a given one whose elements lie otherwise in memory."""

import numpy as np


def spaced(a, step=2, pad=3):
    """A view of equal values in a larger array that holds NaN elsewhere."""
    larger = np.full([step * n + 2 * pad for n in a.shape], np.nan, a.dtype)
    view = larger[tuple(slice(pad, pad + step * n, step) for n in a.shape)]
    view[...] = a
    return view


def unaligned(a):
    copy = np.ndarray(a.shape, a.dtype, bytearray(a.nbytes + 1), offset=1)
    copy[...] = a
    return copy


LAYOUTS = {
    "contiguous": np.copy,
    "Fortran": lambda a: a.copy(order="F"),
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "every second": spaced,
    "padded": lambda a: spaced(a, step=1),
    "unaligned": unaligned,
    "axes swapped": lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
    "classes first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
}
