"""The derivatives of a row's loss, from its exponentials and its slopes.

For vectors of classes with scalars of the row, or vectors with one row a lane.
"""

from typing import Any, NamedTuple

from ..simd import fma, narrow, positive_part, widen
from .compile import formula
from .options import zero_times_infinity_is_zero


class HighLow(NamedTuple):
    """A number as the sum of two of a dtype."""

    high: Any
    low: Any


@formula
def high_and_low(number, z):
    high = narrow(number, z)
    return HighLow(high, narrow(number - widen(high), z))


@formula
def rounded_to(number, z):
    """A number that is high and low in float64, in the dtype of z."""
    high = narrow(number.high, z)
    return HighLow(high, narrow(number.high - widen(high) + number.low, z))


@formula
def minus(x, number):
    """x less a number that is high and low in x's dtype."""
    return (x - number.high) - number.low


@formula
def scaled(e, factor):
    """e times a factor that is high and low: one rounding, not two."""
    return fma(e, factor.high, e * factor.low)


class Factors(NamedTuple):
    """What turns the exponentials of a row, or of a block of it, into derivatives."""

    grad: HighLow
    prob: HighLow
    row_factor: Any  # sample weight over divisor
    log_top: Any


@formula
def factors_for(slopes, row_factor, ratio, z):
    """In the dtype of z; `ratio` brings the exponentials to the shift of the row."""
    return Factors(
        high_and_low(slopes.inverse_sum_exp * slopes.slope * row_factor * ratio, z),
        high_and_low(slopes.inverse_sum_exp * ratio, z),
        narrow(row_factor, z),
        narrow(slopes.log_top, z),
    )


@formula
def with_slope(g, u, options):
    """g times the slope of softcap's tanh, 1 − tanh²."""
    if options.softcap is not None:
        # −inf, a masked class, has a slope of 0; so has what is rounded to ±softcap or beyond.
        ratio = u * (1.0 / options.softcap)
        g = g * positive_part(fma(-ratio, ratio, 1.0))
    return g


@formula
def to_keep(e, u, options):
    """An exponential as `gradient` takes it: where no mass is to be subtracted, softcap's slope is in it."""
    return with_slope(e, u, options) if options.label_smoothing is None else e


@formula
def gradient(e, u, m, factors, options):
    """slope·p_j − m_j, for the logits as they were given."""
    g = scaled(e, factors.grad)
    if options.label_smoothing is not None:
        g = with_slope(fma(-factors.row_factor, m, g), u, options)
    if options.logit_scale is not None:
        g = g * options.logit_scale
    return g


@formula
def _curvature(h, p, row_factor, options):
    """The second derivative for the logits as they were given, from h = p·(1 − p)·slope."""
    if options.z_loss is not None:
        # The factor may be one number or a lane's own: in this order both are rounded alike.
        h = h + 2.0 * options.z_loss * (row_factor * p) * p
    if options.logit_scale is not None:
        h = h * options.logit_scale * options.logit_scale
    return h


@formula
def second_derivative(e, factors, options):
    """p·((1 − p)·slope + 2·z_loss·p), where 1 − p has the digits that a rounded p has lost."""
    complement = positive_part(fma(-factors.prob.low, e, fma(-factors.prob.high, e, 1.0)))
    h = scaled(e, factors.grad) * complement
    return _curvature(h, scaled(e, factors.prob), factors.row_factor, options)


@formula
def target_derivatives(slopes, w_y, u_y, n_classes, row_factor, options):
    """Gradient and second derivative for an integer target's class, for which p − 1 would cancel."""
    g = slopes.target_grad * row_factor
    if options.label_smoothing is not None:
        g = g - w_y * (options.label_smoothing / n_classes) * row_factor
    g = with_slope(g, u_y, options)
    if options.logit_scale is not None:
        g = g * options.logit_scale
    h = slopes.p_y * slopes.q * (slopes.slope * row_factor)
    return g, _curvature(h, slopes.p_y, row_factor, options)


@formula
def targets_gradient(gap, w, factors, options):
    """w·(1 − label_smoothing)·(lse − u), from the gap of u to the largest logit."""
    share = w * (1.0 - options.label_smoothing)
    return zero_times_infinity_is_zero(share, gap + factors.log_top) * factors.row_factor
