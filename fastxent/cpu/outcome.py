"""From the sums over a row, or over a vector of rows, to its loss and derivatives; in float64 throughout."""

import math
from typing import Any, NamedTuple

from ..simd import full_like, log1p, positive_part, power, where
from .compile import formula
from .derivatives import HighLow
from .options import is_largest_taken_away, zero_times_infinity_is_zero
from .shift import Shift, shift_minus, shifted_exp
from .tally import Tally


class RowSums(NamedTuple):
    """What is summed over a row, or over each of a vector of rows."""

    others: Any  # exponentials of all classes but the target's; of all for soft targets
    u_y: Any
    w_y: Any
    top: Any
    e_top: Any
    shift: Shift
    tally: Tally


class Outcome(NamedTuple):
    loss: Any
    lse: Any
    lse_low: Any  # without targets, what float64 lacks of lse; else 0
    entropy: Any


class Slopes(NamedTuple):
    """What derivatives of the row's loss with respect to the transformed logits are made of.

    That of class j is slope·p_j − m_j, but target_grad − m_j for an integer target.
    """

    inverse_sum_exp: Any  # turns a shifted exponential into a probability
    slope: Any
    log_top: Any  # lse less the largest logit
    p_y: Any
    q: Any  # 1 − p_y
    target_grad: Any


class HardTerm(NamedTuple):
    loss: Any
    slope: Any  # the derivative is slope·(p_j − [j = y])


class Likelihood(NamedTuple):
    loss: float  # lse − u_y
    lse: float
    inverse_sum_exp: float  # turns a shifted exponential into a probability


class Solved(NamedTuple):
    """What outcome and slopes are made of."""

    target: Likelihood  # of the largest logit if there is no target
    e_y: Any
    q: Any
    log_top: Any
    hard: HardTerm


@formula
def likelihood(others, u_y, shift):
    """Loss and log-sum-exp in float64, from the sum of the shifted exponentials of the other classes.

    Where the target holds most of the probability the loss is −log1p(−q), with q that of the others,
    and keeps every digit that lse − u_y would cancel away.
    """
    sum_exp = others + shifted_exp(u_y, shift)
    inverse_sum_exp = _inverse_of(sum_exp)
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
def _inverse_of(sum_exp):
    """1/sum_exp; NaN for an infinite one, so that a row holding +inf is NaN throughout."""
    return where(sum_exp < math.inf, 1.0 / sum_exp, math.nan)


@formula
def _all_but_top(others, added, e_top):
    """The sum of all exponentials but the largest, from that of others + added; infinite if that is."""
    return where(others < math.inf, positive_part(others + added - e_top), others)


@formula
def _hard_term(loss, p_y, q, w_y, options):
    """(1 − label_smoothing)·w_y·q^focal_gamma·loss, for an integer target; loss = −log p_y, q = 1 − p_y."""
    share = full_like(loss, 1.0) * w_y
    slope, gamma = full_like(loss, 1.0), options.focal_gamma
    if options.label_smoothing is not None:
        share = share * (1.0 - options.label_smoothing)
    if gamma is not None:
        modulator = power(where(loss < math.inf, q, 1.0), gamma)  # +inf elsewhere makes NaN of q
        p_y = where(loss < math.inf, p_y, 0.0)
        relative = where(p_y > 0.0, p_y * where(q > 0.0, loss / q, 1.0), 0.0)
        loss = modulator * loss
        slope = modulator * (1.0 + gamma * relative)
    return HardTerm(zero_times_infinity_is_zero(share, loss), share * slope)


@formula
def _solved(targets, n_classes, sums, options):
    """The targets are None for soft ones."""
    others, u_y, e_y = sums.others, sums.u_y, shifted_exp(sums.u_y, sums.shift)
    rest = where(u_y == sums.top, others, _all_but_top(others, e_y, sums.e_top))
    if targets is None:
        rest = others = _all_but_top(others, 0.0, sums.e_top)
        u_y = sums.top
    target = likelihood(others, u_y, sums.shift)
    q = others * target.inverse_sum_exp
    log_top = full_like(q, 0.0)  # which nobody asks for
    if is_largest_taken_away(options):
        log_top = likelihood(rest, sums.top, sums.shift).loss
    if targets is None:  # of no classes, sums are 0 though what is to be summed would be NaN
        log_top = where(n_classes > 0, log_top, 0.0)
        hard = HardTerm(full_like(q, 0.0), full_like(q, 0.0))
    else:
        p_y = e_y * target.inverse_sum_exp
        hard = _hard_term(target.loss, p_y, q, sums.w_y, options)
    return Solved(target, e_y, q, log_top, hard)


@formula
def outcome_of(targets, n_classes, sums, options):
    solved = _solved(targets, n_classes, sums, options)
    loss, (_, lse, inverse_sum_exp) = solved.hard.loss, solved.target
    if options.label_smoothing is not None:
        loss = loss + (sums.tally.mass_gap + sums.tally.mass * solved.log_top)
    if options.z_loss is not None:
        loss = loss + options.z_loss * lse * lse
    entropy, lse_low = solved.log_top + sums.tally.entropy_gap * inverse_sum_exp, full_like(loss, 0.0)
    if targets is None:
        entropy = where(n_classes > 0, entropy, 0.0)
        lse_low = high_and_low_lse(solved.target, sums.top).low
    return Outcome(loss, lse, lse_low, entropy)


@formula
def slopes_of(targets, n_classes, sums, options):
    """Apart from the outcome, so that derivatives need not wait for logarithms that are not in them.

    Without targets of either kind (soft ones have label_smoothing) the loss is the log-sum-exp, and its
    gradient softmax.
    """
    nothing = full_like(sums.others, 0.0)
    if targets is options.label_smoothing is None:
        slope = full_like(sums.others, 1.0)
        return Slopes(_inverse_of(sums.others), slope, nothing, nothing, nothing, nothing)
    solved = _solved(targets, n_classes, sums, options)
    hard, (_, lse, inverse_sum_exp) = solved.hard, solved.target
    if targets is None:  # the sum has the largest exponential as it is stored; 1 − p would lose digits else
        inverse_sum_exp = _inverse_of(sums.others)
    p_y = solved.e_y * inverse_sum_exp
    slope = target_slope = nothing  # but for the hard term
    if options.label_smoothing is not None:
        slope = slope + sums.tally.mass
    if options.z_loss is not None:
        slope = slope + 2.0 * options.z_loss * lse
    if not (options.label_smoothing is options.z_loss is None):
        target_slope = slope * p_y
    target_grad = target_slope - hard.slope * solved.q
    return Slopes(inverse_sum_exp, hard.slope + slope, solved.log_top, p_y, solved.q, target_grad)
