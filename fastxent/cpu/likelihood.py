"""The log-likelihood of a class and the log-sum-exp, from the sum of the other exponentials; in float64."""

import math
from typing import NamedTuple

from ..simd import log1p, where
from .compile import formula
from .derivatives import HighLow
from .shift import shift_minus, shifted_exp


class Likelihood(NamedTuple):
    loss: float  # lse − u_y
    lse: float
    inverse_sum_exp: float  # turns a shifted exponential into a probability


@formula
def likelihood(others, u_y, shift):
    """Loss and log-sum-exp in float64, from the sum of the shifted exponentials of the other classes.

    Where the target holds most of the probability the loss is −log1p(−q), with q that of the others,
    and keeps every digit that lse − u_y would cancel away.
    """
    sum_exp = others + shifted_exp(u_y, shift)
    inverse_sum_exp = inverse_of(sum_exp)
    q = others * inverse_sum_exp
    certain = q < 0.5
    log_sum = log1p(where(certain, -q, sum_exp - 1.0))
    # Not −log_sum, which is −0.0 where the others have no probability left.
    loss = where(certain, 0.0 - log_sum, log_sum + shift_minus(shift, u_y))
    lse = where(certain, u_y - log_sum, log_sum + shift_minus(shift, 0.0))
    return Likelihood(loss, lse, inverse_sum_exp)


@formula
def high_and_low_lse(of_top, top):
    """The log-sum-exp with what float64 lacks of it, from the likelihood of the largest logit.

    Far from 0 nothing may be left in `lse` of the logarithm of a sum, which log-softmax is made of.
    """
    return HighLow(of_top.lse, (top - of_top.lse) + of_top.loss)


@formula
def inverse_of(sum_exp):
    """1/sum_exp; NaN for an infinite one, so that a row holding +inf is NaN throughout."""
    return where(sum_exp < math.inf, 1.0 / sum_exp, math.nan)
