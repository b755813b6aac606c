"""The largest error of a function over the float32 of a range, all of them or every so many."""

import math

import numpy as np
from numba import get_num_threads, njit, prange

from fastxent import simd


def largest_error(function, truth, ends, step):
    """In ULP, and the number it is at. The function takes arrays (x, out), the truth one float64.

    The ends are of one sign, and the first is nearer 0.
    """
    first, last = np.array(ends, np.float32).view(np.int32).astype(np.int64)
    found = _largest_errors(first, last, step, function, truth)
    error, pattern = found[np.argmax(found[:, 0])]
    return error, float(np.array(pattern, np.int32).view(np.float32))


@njit(error_model="numpy", parallel=True)
def _largest_errors(first, last, step, function, truth):
    """For the bit patterns in that range: the largest error in ULP and its pattern, a row a thread."""
    threads = get_num_threads()
    found = np.zeros((threads, 2))
    block = 1 << 14
    n_blocks = ((last - first) // step + block) // block
    for thread in prange(threads):
        patterns, y = np.empty(block, np.int32), np.empty(block, np.float32)
        x = patterns.view(np.float32)
        for number in range(thread, n_blocks, threads):
            for j in range(block):
                patterns[j] = min(first + (number * block + j) * step, last)
            function(x, y)
            for j in range(block):
                expected = truth(np.float64(x[j]))
                # A power of two: the truth's, or that of the smallest normal number where it is larger.
                scale = max(simd.from_bits(simd.bits(abs(expected)) >> 52 << 52), 2.0**-126)
                error = abs(np.float64(y[j]) - expected) / (scale * 2.0**-23)
                if not error <= found[thread, 0]:
                    found[thread, 0], found[thread, 1] = math.inf if math.isnan(error) else error, patterns[j]
    return found
