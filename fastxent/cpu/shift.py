"""Exponentials that neither overflow nor lose the digits of the logits.

Every exponential is taken as e^(z − offset)·2^(−exponent), with one shift (offset, exponent) for the
classes of a block, so that the largest comes out between √½ and √2; sums under different shifts are brought
to the one for the largest of all. For ordinary logits the offset is 0 and nothing is subtracted: z keeps all
its digits, where the textbook's z − max rounds. Only for maxima of 256 and more (float64: 2048), where every
class that matters is within a factor of two of the maximum and the subtraction is therefore exact, is the
maximum itself the offset. Next to the largest of their block, exponentials of less than 2^−125.5 (float64:
2^−1021.5) are 0.

Functions here take float64 scalars, or whole vectors with one row a lane.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types

from ..simd import (
    LN2_HIGH,
    LN2_LOW,
    Vector,
    arithmetic_type,
    below_overflow,
    exp_of_reduced,
    exp_scaled,
    fma,
    maximum,
    minimum,
    narrow,
    reduced_for_exp,
    round_to_integer,
    two_to_minus,
    where,
)
from .compile import formula, inline, specialised_formula

LOG2_E = 1 / math.log(2)


class Shift(NamedTuple):
    offset: float
    exponent: float


@formula
def narrowed(shift, z):
    """In the dtype of z."""
    return Shift(narrow(shift.offset, z), narrow(shift.exponent, z))


@formula
def less_offset(z, shift):
    """z − offset, in the domain of `reduced_for_exp`."""
    return below_overflow(z - shift.offset, shift.exponent)


@formula
def shifted_argument(z, shift):
    """What `exp_of_reduced` takes for shifted_exp(z, shift)."""
    return reduced_for_exp(less_offset(z, shift), shift.exponent)


@formula
def shifted_exp(z, shift):
    return exp_of_reduced(*shifted_argument(z, shift))


@formula
def _ratio_of_any(old, new):
    return exp_scaled(old.offset - new.offset, new.exponent - old.exponent)


@inline
def _ratio_of_scalars(old, new):
    # Most often the offsets are 0, and there is little to wait for.
    return two_to_minus(new.exponent - old.exponent) if old.offset == new.offset else _ratio_of_any(old, new)


@specialised_formula
def ratio(old, new):
    """What turns an exponential under the old shift into one under the new."""
    is_of_vectors = isinstance(old[0], Vector)
    return (lambda old, new: _ratio_of_any(old, new)) if is_of_vectors else _ratio_of_scalars


_RANGES = {
    types.float32: (256.0, float(np.finfo(np.float32).max)),
    types.float64: (2048.0, float(np.finfo(np.float64).max)),
}


@specialised_formula
def range_of(z):
    """The absolute maximum from which logits of z's dtype need an offset, and the largest finite number."""
    offset_from, largest = _RANGES[arithmetic_type(z.dtype)]
    return lambda z: (offset_from, largest)


@formula
def shift_for(top, z):
    """The shift for logits of z's dtype with this maximum.

    An infinite maximum gets a finite offset: −inf then still gives 0 and +inf gives +inf, and what is
    computed from them becomes the right infinity or NaN by itself.
    """
    offset_from, largest = range_of(z)
    is_near_0 = maximum(top, -top) < offset_from
    offset = where(is_near_0, 0.0, maximum(-largest, minimum(largest, top)))
    exponent = round_to_integer(where(is_near_0, top, 0.0) * LOG2_E)
    return Shift(offset, exponent)


@formula
def shift_minus(shift, z):
    """log(e^offset · 2^exponent) − z"""
    return fma(shift.exponent, LN2_HIGH, shift.offset - z) + shift.exponent * LN2_LOW
