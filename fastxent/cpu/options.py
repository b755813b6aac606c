"""What can be asked beyond the plain loss; what it makes of a logit, and the mass that it gives a class.

A mass is what the log-probability of its class counts for in the loss.

An option that is None has type none, and `if option is not None` over an argument of a function is
settled before the function is compiled: what is off costs nothing.
"""

import math
from typing import Any, NamedTuple

from ..simd import broadcast, fma, soft_capped, where
from .compile import formula
from .strided import address
from .vectors import value_at


class Options(NamedTuple):
    """None is off."""

    soft_targets: Any = None  # with label_smoothing, which may be 0
    weight: Any = None
    sample_weight: Any = None
    label_smoothing: Any = None
    focal_gamma: Any = None
    z_loss: Any = None
    softcap: Any = None
    logit_scale: Any = None
    rank: Any = None
    entropy: Any = None
    hess: Any = None
    targets_grad: Any = None
    divergence: Any = None  # True: the loss less the entropy of the soft targets


PLAIN = Options()


@formula
def _is_on(array):
    return None if array is None else True


@formula
def in_addresses(options):
    """As functions with branches take them (see `strided`), which are given the other arrays apart."""
    return options._replace(
        soft_targets=None,
        weight=address(options.weight),
        sample_weight=None,
        rank=_is_on(options.rank),
        entropy=_is_on(options.entropy),
        hess=_is_on(options.hess),
        targets_grad=None,
    )


@formula
def is_largest_taken_away(options):
    """Whether the log-sum of all classes but the largest is of use."""
    return options.label_smoothing is not None or options.entropy is not None


@formula
def transformed(z, options):
    """u = softcap·tanh(logit_scale·z/softcap); of a vector or one float64. A masked class stays masked."""
    u = z if options.logit_scale is None else z * options.logit_scale
    return u if options.softcap is None else soft_capped(u, options.softcap)


@formula
def zero_times_infinity_is_zero(w, x):
    """w·x; where w is 0, an infinite x counts for nothing, and NaN stays."""
    return where((w == 0.0) & (x == math.inf), 0.0, w * x)


@formula
def class_mass(t, w, n_classes, options):
    """m = w·((1 − label_smoothing)·t + label_smoothing/n_classes), with t = 0 for integer targets."""
    smoothing = options.label_smoothing
    return w * fma(t, 1.0 - smoothing, smoothing / n_classes)


@formula
def mass_at(row, j, inside, z, options):
    """m_j of a vector of classes, 0 where not inside."""
    m = broadcast(0.0, z)
    if options.label_smoothing is not None:
        t = value_at(row.soft_targets, 0.0, j, inside, z)
        w = value_at(row.weight, 1.0, j, inside, z)
        m = class_mass(t, w, row.n_classes, options)
        if inside is not None:
            m = where(inside, m, 0.0)
    return m
