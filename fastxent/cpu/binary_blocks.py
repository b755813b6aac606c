"""Binary cross-entropy and its gradient, element by element of contiguous arrays.

With e = exp(−|z|) both logarithms are a positive number and log1p(e), and both sigmoids, of z and −z, are
e or 1 over 1 + e: all terms of the loss are of one sign, and for targets of 0 and 1 so are those of the
gradient, so that nothing cancels.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from ..simd import (
    broadcast,
    empty_float64,
    exp,
    first_lanes,
    fma,
    get,
    lanes_of,
    load,
    load_masked,
    log1p_of_fraction,
    maximum,
    pointer,
    positive_part,
    prefetch,
    reduce_sum,
    where,
    widen,
    without_subnormals,
)
from .compile import formula, inline, kernel
from .derivatives import high_and_low, scaled
from .options import zero_times_infinity_is_zero
from .shape import AHEAD
from .sigmoid_blocks import ELEMENTS_AT_ONCE
from .strided import address
from .total import sum_of
from .vectors import full_vectors_end, load_inside, store_inside

MOST_LANES = 16


def cyclic(run, dtype):
    """Weights that repeat over an array, with as many again as a vector may read past their end."""
    weights = np.empty(run.size + MOST_LANES, dtype)
    once, again = weights[: run.size], weights[run.size :]
    with np.errstate(over="ignore", under="ignore"):
        once.reshape(run.shape)[...] = run
    again[:] = np.resize(once[:MOST_LANES], MOST_LANES)
    return weights


class _Cycle(NamedTuple):
    start: Any
    period: int


@formula
def _cycle(weights):
    if weights is None:
        return None
    return _Cycle(pointer(weights), weights.size - MOST_LANES)


@formula
def _weighted(value, weight, j, inside, z):
    if weight is None:
        return value
    return zero_times_infinity_is_zero(load_inside(weight.start, j % weight.period, inside, z), value)


@formula
def _elements(z, targets, weight, pos_weight, label_smoothing, factor, loss, grad, j, inside):
    """The losses of one vector of elements, in float64; the outputs that are not None are stored."""
    x, y = load_inside(z, j, inside, z), load_inside(targets, j, inside, z)
    e = exp(-maximum(x, -x))
    yes = fma(y, 1.0 - label_smoothing, 0.5 * label_smoothing)
    no = fma(1.0 - y, 1.0 - label_smoothing, 0.5 * label_smoothing)
    yes = _weighted(yes, pos_weight, j, inside, z)
    value = zero_times_infinity_is_zero(yes, positive_part(-x))
    value = value + zero_times_infinity_is_zero(no, positive_part(x))
    value = _weighted(fma(yes + no, log1p_of_fraction(e), value), weight, j, inside, z)
    if grad is not None:
        g = fma(no, where(x < 0.0, e, 1.0), -yes * where(x < 0.0, 1.0, e)) / (1.0 + e)
        g = scaled(_weighted(g, weight, j, inside, z), factor)
        store_inside(grad, j, without_subnormals(g, grad), inside)
    if loss is not None:
        store_inside(loss, j, value, inside)
    return widen(value)


@inline
def _sum_of_losses(z, targets, weight, pos_weight, label_smoothing, scale, loss, grad, start, stop):
    full = full_vectors_end(z, start, stop)
    factor = high_and_low(scale, z)
    total = widen(broadcast(0.0, z))
    for j in range(start, full, lanes_of(z)):
        prefetch(z, j + AHEAD * lanes_of(z), z)
        prefetch(targets, j + AHEAD * lanes_of(z), z)
        total += _elements(z, targets, weight, pos_weight, label_smoothing, factor, loss, grad, j, None)
    if full < stop:
        inside = first_lanes(stop - full, z)
        last = _elements(z, targets, weight, pos_weight, label_smoothing, factor, loss, grad, full, inside)
        total += where(inside, last, 0.0)
    return reduce_sum(total)


@inline
def _block(logits, targets, weight, pos_weight, label_smoothing, scale, loss, grad, sums, block):
    sums[block] = _sum_of_losses(
        pointer(logits),
        pointer(targets),
        _cycle(weight),
        _cycle(pos_weight),
        label_smoothing,
        scale,
        address(loss),
        address(grad),
        block * ELEMENTS_AT_ONCE,
        min(block * ELEMENTS_AT_ONCE + ELEMENTS_AT_ONCE, logits.size),
    )


@kernel("loss", "grad")
def binary_cross_entropy_blocks(logits, targets, weight, pos_weight, label_smoothing, scale, loss, grad):
    """The sum of the losses; each in loss, and the gradient of the sum times scale in grad.

    The weights are `cyclic`; they, loss and grad may be None. The gradient may lie on the logits.
    """
    n_blocks = (logits.size + ELEMENTS_AT_ONCE - 1) // ELEMENTS_AT_ONCE
    sums = empty_float64(n_blocks)
    for block in prange(n_blocks):
        _block(logits, targets, weight, pos_weight, label_smoothing, scale, loss, grad, sums, np.int64(block))
    return sum_of(sums)


@formula
def _is_fraction(y):
    return (y >= 0.0) & (y <= 1.0)


@inline
def _count_others(targets, counts, block):
    t, start = pointer(targets), block * ELEMENTS_AT_ONCE
    stop = min(start + ELEMENTS_AT_ONCE, targets.size)
    full = full_vectors_end(t, start, stop)
    count = broadcast(0.0, t)
    for j in range(start, full, lanes_of(t)):
        count = where(_is_fraction(load(t, j)), count, count + 1.0)
    last = load_masked(t, full, first_lanes(stop - full, t), 0.0)
    counts[block] = reduce_sum(where(_is_fraction(last), count, count + 1.0))


@inline
def _first_other(targets, counts):
    t = pointer(targets)
    for block in range(counts.size):
        if counts[block] > 0.0:
            i = block * ELEMENTS_AT_ONCE
            while _is_fraction(get(t, i)):
                i += 1
            return i
    return -1


@kernel()
def first_bad_target_blocks(targets):
    """The index of the first target that is not a number from 0 to 1; −1 if there is none."""
    n_blocks = (targets.size + ELEMENTS_AT_ONCE - 1) // ELEMENTS_AT_ONCE
    counts = empty_float64(n_blocks)
    for block in prange(n_blocks):
        _count_others(targets, counts, np.int64(block))
    return _first_other(targets, counts)
