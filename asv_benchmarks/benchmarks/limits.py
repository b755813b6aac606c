"""What memory allows: the least that can be done to whole arrays, by all threads.

Plain loops, which Numba turns into vector instructions and, for `copy`, into `memcpy`; nothing here
depends on the release that is measured. Small arrays are left to NumPy, as threads take longer to wake.
"""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

_SMALL = 2**17  # bytes


def read(array: NDArray[Any]) -> int:
    """Reads each byte once: adds up integers, as a sum of floats is not allowed to become vectors."""
    flat = array.reshape(-1).view(np.uint8)
    numbers = flat[: flat.size // 8 * 8].view(np.int64)
    return int(np.sum(numbers)) if array.nbytes < _SMALL else _sum(numbers)


def multiply(array: NDArray[Any]) -> None:
    """Reads and writes each byte once: multiplies by −1; half types, which Numba lacks, as integers."""
    flat = array.reshape(-1)
    numbers = flat.view(np.int16) if flat.itemsize == 2 else flat
    factor = numbers.dtype.type(-1)
    np.multiply(numbers, factor, out=numbers) if array.nbytes < _SMALL else _multiply(numbers, factor)


def copy(array: NDArray[Any], out: NDArray[Any]) -> None:
    """Reads each byte of the one and writes each of the other."""
    if array.nbytes < _SMALL:
        np.copyto(out, array)
    else:
        _copy(array.reshape(-1).view(np.uint8), out.reshape(-1).view(np.uint8))


@njit(parallel=True, cache=True)
def _sum(numbers):
    total = np.int64(0)
    for i in prange(numbers.size):
        total += numbers[i]
    return total


@njit(parallel=True, cache=True)
def _multiply(numbers, factor):
    for i in prange(numbers.size):
        numbers[i] *= factor


@njit(parallel=True, cache=True)
def _copy(numbers, out):
    for i in prange(numbers.size):
        out[i] = numbers[i]
