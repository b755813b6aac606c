"""What arithmetic allows: as many multiplications with an addition as a loss takes, and hardly a byte moved.

The loss and gradient of a logit take at least these, in vectors as wide as the processor has: an exponential
to 1 ULP takes 13 operations (a bound, a power of two, what remains, and a polynomial of degree 6), and a
maximum, a sum and a product one each.
"""

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from fastxent.simd import VECTOR_BYTES, fma, lanes_of, load, pointer, store, wide, width

OPERATIONS = 16  # a number
_CHAINS = 2  # for each of the vectors that are a wide one, so that no operation waits for another
_SMALL = 2**14  # numbers


def start(n_numbers: int) -> NDArray[np.float32]:
    """A wide vector for each thread, of all if it is worth their while, and room for what comes of it."""
    n_threads = 1 if n_numbers < _SMALL else numba.get_num_threads()
    return np.full((n_threads, 2, width() * VECTOR_BYTES // 4), 0.5, np.float32)


def compute(vectors: NDArray[np.float32], n_numbers: int) -> None:
    """The operations of so many numbers, shared out among the threads."""
    (_serial if len(vectors) == 1 else _parallel)(vectors, n_numbers)


def _compute(vectors, n_numbers):
    for thread in prange(len(vectors)):
        p = pointer(vectors[thread, 0])
        like = wide(p)
        x = load(p, 0, like)
        y = z = x
        for _ in range(n_numbers // len(vectors) // lanes_of(like)):
            for _ in range(OPERATIONS // _CHAINS):
                y, z = fma(y, x, 0.5), fma(z, x, 0.25)
        store(p, lanes_of(like), y + z)


_serial = njit(_compute)  # not cached: both would have one name there
_parallel = njit(parallel=True)(_compute)
