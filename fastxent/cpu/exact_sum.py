"""Sums of exponentials that lose next to nothing: a vector of running sums with its rounding errors.

`high` starts at BIAS, above any term, so that what rounding loses of a term is exactly
e − (new − old) (Dekker's Fast2Sum) and can be gathered in `low`. Four operations a term; converting
every term to float64 takes seven.
"""

import math
from typing import NamedTuple

from ..simd import broadcast, folded, where, widen
from .compile import formula

BIAS = 8.0


class Sum(NamedTuple):
    high: float
    low: float


@formula
def empty_sum(z):
    return Sum(broadcast(BIAS, z), broadcast(0.0, z))


@formula
def add(total, exps):
    """The sum with the exponentials, lane by lane, one vector of its lanes after the other.

    0 ≤ e < BIAS, or NaN or +inf.
    """
    e = folded(exps, total.high)
    high = total.high + e
    return Sum(high, total.low + (e - (high - total.high)))


@formula
def value_of(total):
    """The sum in float64 lanes."""
    exact = widen(total.high - BIAS) + widen(total.low)
    # An infinite high leaves NaN in low.
    return where(total.high < math.inf, exact, widen(total.high))
