"""What classes of a row, or of a vector of rows, add up to, and how two such sums become one."""

from typing import Any, NamedTuple

from ..simd import where
from .compile import formula, inline
from .shift import Shift, ratio, shifted_exp
from .tally import Tally, reference_for, together, with_reference


class Sums(NamedTuple):
    """In float64."""

    others: Any  # the shifted exponentials of all classes but the target
    shift: Shift  # for the largest
    top: Any  # the largest transformed logit
    tally: Tally  # with gaps to the largest


@formula
def _of_larger(a, b):
    """The shift and the largest logit of both together."""
    is_b = b.top > a.top
    offset = where(is_b, b.shift.offset, a.shift.offset)
    exponent = where(is_b, b.shift.exponent, a.shift.exponent)
    return Shift(offset, exponent), where(is_b, b.top, a.top)


@formula
def _brought_to(shift, top, sums, start, stop, y, u_y, z, options):
    """The sums over the classes from `start` to before `stop`, under another shift."""
    exps, rescale = sums.others, ratio(sums.shift, shift)
    if y is not None:
        exps = exps + where((start <= y) & (y < stop), shifted_exp(u_y, sums.shift), 0.0)
    step = reference_for(top, z) - reference_for(sums.top, z)
    tally = with_reference(sums.tally, step, exps, rescale, options)
    return Sums(sums.others * rescale, shift, top, tally)


@formula
def _plus_later_block(sums, block, start, stop, y, u_y, z, options):
    shift, top = _of_larger(sums, block)
    a = _brought_to(shift, top, sums, 0, start, y, u_y, z, options)
    b = _brought_to(shift, top, block, start, stop, y, u_y, z, options)
    return Sums(a.others + b.others, shift, top, together(a.tally, b.tally))


@inline
def plus_block(sums, block, start, stop, y, u_y, z, options):
    """The sums up to `start`, and those of the block from there to `stop`; y is None for soft targets."""
    if start > 0:
        block = _plus_later_block(sums, block, start, stop, y, u_y, z, options)
    return block
