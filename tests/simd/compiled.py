"""Compilation for arrays of every dtype that kernels store, which Numba's own dispatch does not know."""

import numpy as np
from numba import njit, typeof, types

from fastxent.simd import storage_type


def by_storage(function):
    """The function as machine code for the types of its arguments, of which any may be such arrays."""
    dispatcher = njit(function)

    def call(*arguments):
        signature = tuple(map(_type_of, arguments))
        dispatcher.compile(signature)
        return dispatcher.get_overload(signature)(*arguments)

    return call


def _type_of(argument):
    if not isinstance(argument, np.ndarray):
        return typeof(argument)
    return types.Array(storage_type(argument.dtype), argument.ndim, "A", aligned=False)
