"""Sums of exponentials that lose next to nothing: a vector of running sums with its rounding errors.

`high` starts at a bias above any term, so that what rounding loses of a term is exactly
e − (new − old) (Dekker's Fast2Sum) and can be gathered in `low`. Four operations a term; converting
every term to float64 takes seven.

Sums that are `grouped`, which is True or None, add up the few vectors of a wide one first: seven operations
instead of sixteen, and errors of 1 ULP of such a group at most. Not so if the largest exponential, beside
which others vanish, is yet to be taken away from the sum.
"""

import math
from typing import NamedTuple

from ..simd import WIDTH, broadcast, folded, vectors_of, where, widen
from .compile import formula
from .options import is_largest_taken_away

_BIAS = 2.0


class Sum(NamedTuple):
    high: float
    low: float


@formula
def may_be_grouped(target, label_smoothing, entropy):
    """True if exponentials may, which are those of all classes but the target if there is one."""
    return None if target is None or is_largest_taken_away(label_smoothing, entropy) else True


@formula
def _bias(grouped):
    return _BIAS if grouped is None else WIDTH * _BIAS


@formula
def empty_sum(z, grouped):
    return Sum(broadcast(_bias(grouped), z), broadcast(0.0, z))


@formula
def add(total, exps, grouped):
    """The sum with the exponentials, lane by lane, one vector or group of vectors after the other.

    0 ≤ e < 2, or NaN or +inf.
    """
    high, low = total
    for e in vectors_of(exps, high) if grouped is None else (folded(exps, high),):
        old = high
        high = old + e
        low = low + (e - (high - old))
    return Sum(high, low)


@formula
def value_of(total, grouped):
    """The sum in float64 lanes."""
    exact = widen(total.high - _bias(grouped)) + widen(total.low)
    # An infinite high leaves NaN in low.
    return where(total.high < math.inf, exact, widen(total.high))
