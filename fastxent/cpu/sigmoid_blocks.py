"""The logistic sigmoid of every element of a contiguous array."""

import numpy as np
from numba import prange

from ..simd import (
    exp,
    first_lanes,
    lanes_of,
    load,
    load_masked,
    maximum,
    pointer,
    prefetch,
    store,
    store_masked,
    where,
    without_subnormals,
)
from .compile import formula, inline, kernel
from .shape import AHEAD
from .vectors import full_vectors_end

ELEMENTS_AT_ONCE = 8192
"""That one thread takes."""


@formula
def _sigmoid(z):
    # The exponential of −|z| neither overflows nor, for z < 0, is taken from 1.
    e = exp(-maximum(z, -z))
    return where(z < 0.0, e, 1.0) / (1.0 + e)


@inline
def _block(z, out, start, stop):
    full = full_vectors_end(z, start, stop)
    for j in range(start, full, lanes_of(z)):
        prefetch(z, j + AHEAD * lanes_of(z), z)
        store(out, j, without_subnormals(_sigmoid(load(z, j)), out))
    if full < stop:
        inside = first_lanes(stop - full, z)
        probability = _sigmoid(load_masked(z, full, inside, 0.0))
        store_masked(out, full, without_subnormals(probability, out), inside)


@kernel("out")
def sigmoid_blocks(logits, out):
    n = logits.size
    for block in prange((n + ELEMENTS_AT_ONCE - 1) // ELEMENTS_AT_ONCE):
        start = np.int64(block) * ELEMENTS_AT_ONCE
        _block(pointer(logits), pointer(out), start, min(start + ELEMENTS_AT_ONCE, n))
