"""What arguments come as: forms as good as the plain array or number, and forms that are to be refused."""

import mmap

import numpy as np

from tests.layouts import LAYOUTS

PAGE = mmap.PAGESIZE


class Subclass(np.ndarray):
    """With operators of its own, which nobody is to call."""

    __array_priority__ = 1e9

    def __array_ufunc__(self, *_, **__):
        raise AssertionError("computed with a subclass")


class ArrayLike:
    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        return np.array(self.a, dtype)


def repeated(a):
    """The first along each axis for all others, with strides of 0."""
    return np.broadcast_to(a[tuple(slice(min(n, 1)) for n in a.shape)], a.shape)


def far_apart(a):
    """The last of the first axis first, each on a page of its own."""
    if a.ndim == 0 or a.size == 0:
        return a.copy()
    step = -(-a[0].nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, step * len(a))
    view = np.ndarray(a.shape, a.dtype, memory, step * (len(a) - 1), (-step, *a[0].copy().strides))
    view[...] = a
    return view


def mapped(a):
    """Memory of a file, if it has any."""
    copy = np.ndarray(a.shape, a.dtype, mmap.mmap(-1, max(1, a.nbytes))).view(np.memmap)
    copy[...] = a
    return copy


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def interleaved(a):
    """A copy, and room for as much between its numbers."""
    memory = np.full((*a.shape, 2), 77, a.dtype)
    memory[..., 0] = a
    return memory[..., 0], memory[..., 1]


def _where_it_can_be(name, layout):
    """The layout, which may need two axes, or floats since it puts NaN between the elements."""
    least_axes = 2 if name == "axes swapped" else 1
    no_kinds = "iub" if name in ("every second", "padded") else ""

    def laid_out(a):
        return a.copy() if a.ndim < least_axes or a.dtype.kind in no_kinds else layout(a)

    return laid_out


GOOD_OUT = {
    **{name: _where_it_can_be(name, layout) for name, layout in LAYOUTS.items()},
    "far apart": far_apart,
    "mapped": mapped,
    "subclass": lambda a: a.copy().view(Subclass),
}
GOOD = {
    **GOOD_OUT,
    "repeated": repeated,
    "read-only": read_only,
    "list": lambda a: a.tolist() if a.size and (a.dtype == np.float64 or a.dtype.kind in "iub") else a.copy(),
    "array-like": ArrayLike,
}
BAD = {
    "masked": lambda a: np.ma.array(a, mask=False),
    "objects": lambda a: a.astype(object),
    "foreign": lambda a: a.astype(">f8"),
    "complex": lambda a: a.astype(complex),
    "long": lambda a: a.astype(np.longdouble),
    "strings": lambda a: a.astype(float).astype(str),
    "booleans": lambda a: a.astype(bool),
    "none": lambda a: None,
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "record": lambda a: np.zeros(a.shape, [("x", np.float32)]),
}
BAD_OUT = {
    "masked": np.ma.array,
    "foreign": lambda a: a.astype(a.dtype.newbyteorder() if a.dtype.name != "bfloat16" else ">f4"),
    "another dtype": lambda a: a.astype(np.complex64),
    "another shape": lambda a: np.resize(a, a.size + 1),
    "another axis": lambda a: a[None],
    "read-only": read_only,
    "list": lambda a: a.tolist(),
    "number": lambda a: 1.0,
}


# Options of a mix are on whatever their value, since those that are off are another kernel.
VALUES = {
    "label_smoothing": [1e-300, 0.1, 1, np.float32(0.5)],
    "focal_gamma": [1e-300, 0.5, 1, 2, 1e4],
    "z_loss": [1e-300, 1e-4, 1, 1e4],
    "softcap": [1e-2, 3, 30.0, 1e5],
    "logit_scale": [1e-3, 0.25, 2, 100.0],
    "normalizer": [1e-3, 1, 7.5, np.float32(3), 10**6],
}
_NO_NUMBERS = ["1", True, 1j, np.ones(2), [0.5], -1e-300, -1, np.nan, np.inf, -np.inf]
BAD_VALUES = {
    "axis": [7, -8, 0.0, None, "0", (0,)],
    "reduction": ["avg", None, 1, "MEAN"],
    "normalizer": [*_NO_NUMBERS, 0],
    "ignore_index": [2**63, -(2**63) - 1, 1.0, None, "0"],
    "label_smoothing": [*_NO_NUMBERS, None, 1.0000000000000002],
    "focal_gamma": [*_NO_NUMBERS, None],
    "z_loss": [*_NO_NUMBERS, None],
    "softcap": [*_NO_NUMBERS, 0.0],
    "logit_scale": [*_NO_NUMBERS, None, 0],
}
NUMBERS = {
    "ordinary": [],
    "masked": [-np.inf],
    "not finite": [np.inf, -np.inf, np.nan],
    "extreme": [0.0, -0.0, 1e-42, -6e-8, 6e4, -6e4],
}


def owner_of(a):
    """The bytes of all the memory that an array is a view of."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    if a.base is not None:
        return np.frombuffer(a.base, np.uint8)
    return (a if a.flags.c_contiguous else a.T).reshape(-1).view(np.uint8)
