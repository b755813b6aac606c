"""What classes of a row, or of a vector of rows, add up to, and how two such sums become one."""

from typing import Any, NamedTuple

from ..simd import where
from .compile import formula
from .shift import Shift
from .tally import Tally, reference_for, together, with_reference


class Sums(NamedTuple):
    """In float64."""

    others: Any  # the shifted exponentials of all classes but the target
    shift: Shift  # for the largest
    top: Any  # the largest transformed logit
    tally: Tally  # with gaps to the largest


@formula
def of_larger(a, b):
    """The shift and the largest logit of both together."""
    is_b = b.top > a.top
    offset = where(is_b, b.shift.offset, a.shift.offset)
    exponent = where(is_b, b.shift.exponent, a.shift.exponent)
    return Shift(offset, exponent), where(is_b, b.top, a.top)


@formula
def brought_to(shift, top, sums, exps, rescale, z, options):
    """The sums under another shift; `exps` with the target's exponential, which `rescale` brings there."""
    step = reference_for(top, z) - reference_for(sums.top, z)
    tally = with_reference(sums.tally, step, exps, rescale, options.label_smoothing, options.entropy)
    return Sums(sums.others * rescale, shift, top, tally)


@formula
def plus(a, b):
    """Of sums under the same shift."""
    return Sums(a.others + b.others, a.shift, a.top, together(a.tally, b.tally))
