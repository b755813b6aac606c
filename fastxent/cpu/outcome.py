"""From the sums over a row, or over a vector of rows, to its loss and gradient; in float64 throughout."""

import math
from typing import Any, NamedTuple

from ..simd import full_like, maximum, power, where
from .compile import formula
from .likelihood import likelihood
from .options import is_largest_taken_away, zero_times_infinity_is_zero
from .shift import shifted_exp


class Outcome(NamedTuple):
    """Derivatives are those of the row's loss with respect to the transformed logits.

    That of class j is slope·p_j − m_j, but target_grad − m_j for an integer target.
    """

    loss: Any
    lse: Any
    entropy: Any
    scale: Any  # turns a shifted exponential into a probability
    slope: Any
    log_top: Any  # lse less the largest logit
    p_y: Any
    q: Any  # 1 − p_y
    target_grad: Any


class HardTerm(NamedTuple):
    loss: Any
    slope: Any  # the derivative is slope·(p_j − [j = y])


@formula
def all_but_top(others, added, e_top):
    """The sum of all exponentials but the largest, from that of others + added; infinite if that is."""
    return where(others < math.inf, maximum(0.0, others + added - e_top), others)


@formula
def hard_term(loss, q, w_y, label_smoothing, focal_gamma):
    """(1 − label_smoothing)·w_y·q^focal_gamma·loss, for an integer target; loss = −log p_y, q = 1 − p_y."""
    share = full_like(loss, 1.0) * w_y
    slope = full_like(loss, 1.0)
    if label_smoothing is not None:
        share = share * (1.0 - label_smoothing)
    if focal_gamma is not None:
        modulator = power(where(loss < math.inf, q, 1.0), focal_gamma)  # +inf elsewhere makes NaN of q
        p_y = where(loss < math.inf, 1.0 - q, 0.0)
        relative = where(p_y > 0.0, p_y * where(q > 0.0, loss / q, 1.0), 0.0)
        loss = modulator * loss
        slope = modulator * (1.0 + focal_gamma * relative)
    return HardTerm(zero_times_infinity_is_zero(share, loss), share * slope)


@formula
def outcome_of(targets, n_classes, others, u_y, w_y, top, e_top, shift, tally, options):
    """`others` sums the exponentials of all classes but the target's; of all for soft targets (None)."""
    e_y = shifted_exp(u_y, shift)
    rest = where(u_y == top, others, all_but_top(others, e_y, e_top))
    if targets is None:
        u_y, others = top, all_but_top(others, 0.0, e_top)
        rest = others
    row = likelihood(others, u_y, shift)
    q = others * row.scale
    log_top = full_like(q, 0.0)  # which nobody asks for
    if is_largest_taken_away(options.label_smoothing, options.entropy):
        log_top = likelihood(rest, top, shift).loss
    entropy = log_top + tally.entropy_gap * row.scale
    if targets is None:  # of no classes, sums are 0 though what is to be summed would be NaN
        log_top = where(n_classes > 0, log_top, 0.0)
        entropy = where(n_classes > 0, entropy, 0.0)
    hard = HardTerm(full_like(q, 0.0), full_like(q, 0.0))
    if targets is not None:
        hard = hard_term(row.loss, q, w_y, options.label_smoothing, options.focal_gamma)
    loss = hard.loss
    slope = full_like(q, 0.0)  # but for the hard term
    if options.label_smoothing is not None:
        loss = loss + (tally.mass_gap + tally.mass * log_top)
        slope = slope + tally.mass
    if options.z_loss is not None:
        loss = loss + options.z_loss * row.lse * row.lse
        slope = slope + 2.0 * options.z_loss * row.lse
    p_y = e_y * row.scale
    return Outcome(
        loss,
        row.lse,
        entropy,
        row.scale,
        hard.slope + slope,
        log_top,
        p_y,
        q,
        slope * p_y - hard.slope * q,
    )
