"""Sums of exponentials that lose next to nothing: a vector of running sums with its rounding errors.

`high` starts at a bias with the exponent of the largest terms, so that what rounding loses of a term is
exactly e − (new − old) (Dekker's Fast2Sum) and can be gathered in `low`. Four operations a term; converting
every term to float64 takes seven. (To add up a few terms first, and keep what rounding loses of their sum,
takes fewer yet, but puts gradients off by 3 ULP now and then, where one term is most of the sum.)
"""

import math
from typing import NamedTuple

from ..simd import broadcast, vectors_of, where, widen
from .compile import formula

_BIAS = 2.0


class Sum(NamedTuple):
    high: float
    low: float


@formula
def empty_sum(z):
    return Sum(broadcast(_BIAS, z), broadcast(0.0, z))


@formula
def add(total, terms):
    """The sum with the terms, lane by lane, one vector after the other: 0 ≤ e < 4, or NaN or +inf."""
    high, low = total
    for e in vectors_of(terms, high):
        old = high
        high = old + e
        low = low + (e - (high - old))
    return Sum(high, low)


@formula
def value_of(total):
    """The sum in float64 lanes."""
    exact = widen(total.high - _BIAS) + widen(total.low)
    # An infinite high leaves NaN in low.
    return where(total.high < math.inf, exact, widen(total.high))
