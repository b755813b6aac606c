"""From the sums over a row to its loss and to what turns exponentials into derivatives.

The formulas are those of `fastxent/cpu/outcome.py` and `derivatives.py`, in the dtype of the
arithmetic.
"""

from typing import Any, NamedTuple

from .package import device, exp, log, log1p, power
from .sums import zero_wins


class Outcome(NamedTuple):
    """The derivative by u_j is slope·p_j − m_j, but target_grad − m_j for the target's class."""

    loss: Any
    lse: Any
    entropy: Any
    inverse_sum_exp: Any  # turns exp(u − top) into a probability
    slope: Any
    target_grad: Any
    p_y: Any
    q: Any  # 1 − p_y


class Hard(NamedTuple):
    loss: Any
    slope: Any


@device
def _hard(loss, q, w_y, on, c):
    """(1 − label_smoothing)·w_y·q^focal_gamma·loss, where loss = −log p_y and q = 1 − p_y."""
    share, slope = w_y, c.one
    if on.label_smoothing:
        share = share * (c.one - c.label_smoothing)
    if on.focal_gamma:
        modulator = power(q if loss < c.infinity else c.one, c.focal_gamma)  # +inf elsewhere makes NaN of q
        relative = c.zero
        if loss < c.infinity and q < c.one:
            relative = (c.one - q) * (loss / q if q > c.zero else c.one)
        loss = modulator * loss
        slope = modulator * (c.one + c.focal_gamma * relative)
    return Hard(zero_wins(share, loss, c), share * slope)


@device
def outcome_of(sums, row, on, c):
    e_y = exp(row.u_y - sums.top)
    sum_exp = sums.others + e_y
    inverse_sum_exp = c.one / sum_exp if sum_exp < c.infinity else c.nan
    q = sums.others * inverse_sum_exp
    if q < c.half:
        # log1p keeps every digit that lse − u_y would cancel away
        log_sum = log1p(-q)
        loss, lse = -log_sum, row.u_y - log_sum
    else:
        loss, lse = log(sum_exp) + (sums.top - row.u_y), log(sum_exp) + sums.top
    hard = _hard(loss, q, row.w_y, on, c)
    total_loss, slope = hard.loss, c.zero  # the slope but for the hard term
    rest = sums.others if row.u_y == sums.top else sum_exp - c.one
    log_top = log1p(rest if rest > c.zero or rest != rest else c.zero)
    if on.label_smoothing:
        total_loss = total_loss + (sums.mass_gap + c.mass * log_top)
        slope = slope + c.mass
    if on.z_loss:
        total_loss = total_loss + c.z_loss * lse * lse
        slope = slope + c.two * c.z_loss * lse
    p_y = e_y * inverse_sum_exp
    entropy = log_top + (sums.entropy_gap + zero_wins(e_y, sums.top - row.u_y, c)) * inverse_sum_exp
    target_grad = slope * p_y - hard.slope * q
    return Outcome(total_loss, lse, entropy, inverse_sum_exp, hard.slope + slope, target_grad, p_y, q)


@device
def gradient(u, is_target, m, outcome, top, factor, on, c):
    """By one logit as it was given; m is its class's mass."""
    g = exp(u - top) * (outcome.inverse_sum_exp * outcome.slope)
    g = outcome.target_grad if is_target else g
    if on.label_smoothing:
        g = g - m
    if on.softcap:
        ratio = u / c.softcap
        g = g * (c.one - ratio * ratio if u != -c.infinity else c.zero)
    if on.logit_scale:
        g = g * c.logit_scale
    return g * factor


@device
def second_derivative(u, is_target, outcome, top, factor, on, c):
    """p·((1 − p)·slope + 2·z_loss·p)."""
    p = outcome.p_y if is_target else exp(u - top) * outcome.inverse_sum_exp
    h = p * (outcome.q if is_target else c.one - p) * outcome.slope
    if on.z_loss:
        h = h + c.two * c.z_loss * p * p
    if on.logit_scale:
        h = h * c.logit_scale * c.logit_scale
    return h * factor
