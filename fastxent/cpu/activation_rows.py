"""softmax, log-softmax, log-sum-exp and the product with softmax's Jacobian, row by row."""

import math

import numpy as np
from numba import prange

from ..simd import (
    broadcast,
    first_lanes,
    lanes_of,
    load,
    load_masked,
    maximum,
    narrow,
    pointer,
    reduce_max,
    reduce_sum,
    store,
    store_masked,
    where,
    widen,
)
from .compile import inline, kernel
from .likelihood import likelihood, probability_scale
from .row import full_vectors_end, n_blocks, rows_in_chunk, scale_row, sum_exp
from .shift import shifted_exp
from .strided import pack_row, row_is_strided, unpack_row

NO_CLASS = -1


@inline
def softmax_chunk(logits, out, rows):
    n_classes = logits.shape[1]
    strided = row_is_strided(logits) or row_is_strided(out)
    packed = np.empty(n_classes if strided else 0, logits.dtype)
    shifts = np.empty((n_blocks(logits), 2))
    for i in range(rows[0], rows[1]):
        if strided:
            pack_row(logits, i, packed)
        z = pointer(packed, 0) if strided else pointer(logits, i)
        p = z if strided else pointer(out, i)
        total, shift, _ = sum_exp(z, n_classes, NO_CLASS, p, shifts)
        scale_row(p, n_classes, probability_scale(total), shifts, shift)
        if strided:
            unpack_row(packed, out, i)


@kernel("out")
def softmax_rows(logits, out):
    n_rows, n_classes = logits.shape
    step = rows_in_chunk(n_classes)
    for chunk in prange((n_rows + step - 1) // step):
        start = np.int64(chunk) * step
        softmax_chunk(logits, out, (start, min(start + step, n_rows)))


@inline
def minus(x, high, low):
    """x less a float64 in two parts of x's dtype."""
    return (x - high) - low


@inline
def subtract_from_row(z, n_classes, number, out):
    """out = z − number, for a float64 number."""
    high = narrow(number, z)
    low = narrow(number - widen(high), z)
    full = full_vectors_end(z, 0, n_classes)
    for j in range(0, full, lanes_of(z)):
        store(out, j, minus(load(z, j), high, low))
    if full < n_classes:
        inside = first_lanes(n_classes - full, z)
        store_masked(out, full, minus(load_masked(z, full, inside, 0.0), high, low), inside)


@inline
def logsumexp_row(z, n_classes):
    """Log-sum-exp as the likelihood of the largest class, whose exponential is then taken in float64."""
    total, shift, row_max = sum_exp(z, n_classes, NO_CLASS, None, None)
    largest = widen(reduce_max(shifted_exp(broadcast(row_max, z), shift)))
    others = where(row_max < math.inf, maximum(0.0, total - largest), total)
    return likelihood(others, row_max, shift).lse


@inline
def logsumexp_chunk(logits, lse, out, rows):
    n_classes = logits.shape[1]
    strided = row_is_strided(logits)
    if out is not None:
        strided = strided or row_is_strided(out)
    packed = np.empty(n_classes if strided else 0, logits.dtype)
    for i in range(rows[0], rows[1]):
        if strided:
            pack_row(logits, i, packed)
        z = pointer(packed, 0) if strided else pointer(logits, i)
        row_lse = logsumexp_row(z, n_classes)
        if lse is not None:
            lse[i] = row_lse
        if out is not None:
            subtract_from_row(z, n_classes, row_lse, z if strided else pointer(out, i))
            if strided:
                unpack_row(packed, out, i)


@kernel("lse", "out")
def logsumexp_rows(logits, lse, out):
    """Log-sum-exp of each row in lse; the logits less that, log-softmax, in out. Either may be None."""
    n_rows, n_classes = logits.shape
    step = rows_in_chunk(n_classes)
    for chunk in prange((n_rows + step - 1) // step):
        start = np.int64(chunk) * step
        logsumexp_chunk(logits, lse, out, (start, min(start + step, n_rows)))


@inline
def softmax_grad_row(p, grad, n_classes, out):
    """out = p·(grad − Σ p·grad), the sum in float64."""
    lanes = lanes_of(p)
    full = full_vectors_end(p, 0, n_classes)
    inside = first_lanes(n_classes - full, p)
    dots = widen(broadcast(0.0, p))
    for j in range(0, full, lanes):
        dots += widen(load(p, j)) * widen(load(grad, j))
    if full < n_classes:
        dots += widen(load_masked(p, full, inside, 0.0)) * widen(load_masked(grad, full, inside, 0.0))
    dot = reduce_sum(dots)
    high = narrow(dot, p)
    low = narrow(dot - widen(high), p)
    for j in range(0, full, lanes):
        store(out, j, load(p, j) * minus(load(grad, j), high, low))
    if full < n_classes:
        centred = minus(load_masked(grad, full, inside, 0.0), high, low)
        store_masked(out, full, load_masked(p, full, inside, 0.0) * centred, inside)


@inline
def softmax_grad_chunk(probs, grad, out, rows):
    n_classes = probs.shape[1]
    strided = row_is_strided(probs) or row_is_strided(grad) or row_is_strided(out)
    packed = np.empty((2, n_classes if strided else 0), probs.dtype)
    for i in range(rows[0], rows[1]):
        if strided:
            pack_row(probs, i, packed[0])
            pack_row(grad, i, packed[1])
            softmax_grad_row(pointer(packed, 0), pointer(packed, 1), n_classes, pointer(packed, 0))
            unpack_row(packed[0], out, i)
        else:
            softmax_grad_row(pointer(probs, i), pointer(grad, i), n_classes, pointer(out, i))


@kernel("out")
def softmax_grad_rows(probs, grad, out):
    n_rows, n_classes = probs.shape
    step = rows_in_chunk(n_classes)
    for chunk in prange((n_rows + step - 1) // step):
        start = np.int64(chunk) * step
        softmax_grad_chunk(probs, grad, out, (start, min(start + step, n_rows)))
