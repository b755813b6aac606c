"""Sums of exponentials that lose next to nothing: a vector of running sums with its rounding errors.

`high` starts at a bias with the exponent of the largest term, so that what rounding loses of a term is
exactly e − (new − old) (Dekker's Fast2Sum) and can be gathered in `low`. Terms far below the bias would all
end up in `low`, whose own roundings nobody gathers: where the largest exponential is the target's, which is
not summed, the bias goes by the largest of the others. And where the largest is summed but taken away
again, what rounding lost of it would stand in `low` beside terms far below it: the bias is then such that
nothing is lost. Four operations a term; converting every term to float64 takes seven. (To add up a few
terms first, and keep what rounding loses of their sum, takes fewer yet, but puts gradients off by 3 ULP now
and then, where one term is most of the sum.)
"""

import math
from typing import NamedTuple

from ..simd import (
    full_like,
    leading_power,
    maximum,
    minimum,
    round_to_integer,
    two_to_minus,
    vectors_of,
    where,
    widen,
)
from .compile import formula
from .options import is_largest_taken_away
from .shift import LOG2_E, shifted_exp

BIAS = 2.0
"""Of sums that may hold a row's largest exponential; bits depend on it."""

_MOST_BELOW = 100.0
"""Powers of two from the row's largest exponential to those whose sums keep all digits: losses of 1e-30."""

_LEAST = BIAS * 2.0**-_MOST_BELOW


class Sum(NamedTuple):
    high: float
    low: float
    bias: float


@formula
def bias_for(largest, shift, targets, grad, options):
    """For the exponentials that are summed, the largest of which is that of this transformed logit.

    `grad` is None if no gradient is asked for.
    """
    if targets is options.label_smoothing is None and grad is not None:  # softmax, made of the whole sum
        return full_like(largest, BIAS)
    is_taken_away = is_largest_taken_away(options)
    if targets is None or is_taken_away or options.hess is not None:  # 1 − p takes it away as well
        return _bias_beside(shifted_exp(largest, shift))
    below = shift.exponent - (largest - shift.offset) * LOG2_E
    return BIAS * two_to_minus(round_to_integer(minimum(_MOST_BELOW, maximum(0.0, below))))


@formula
def _bias_beside(e):
    """The power of two above e, or the number before that: whichever e can be added to without rounding."""
    e = where(e < math.inf, e, 0.0)
    power = minimum(BIAS, maximum(_LEAST, 2.0 * leading_power(e)))
    lost = e - ((power + e) - power)
    return power - maximum(lost, -lost)


@formula
def empty_sum(bias):
    return Sum(bias, full_like(bias, 0.0), bias)


@formula
def add(total, terms):
    """The sum with the terms, lane by lane, one vector after the other: from 0 to the bias, NaN or +inf."""
    high, low, bias = total
    for e in vectors_of(terms, high):
        old = high
        high = old + e
        low = low + (e - (high - old))
    return Sum(high, low, bias)


@formula
def value_of(total):
    """The sum in float64 lanes."""
    exact = (widen(total.high) - widen(total.bias)) + widen(total.low)
    # An infinite high leaves NaN in low.
    return where(total.high < math.inf, exact, widen(total.high))
