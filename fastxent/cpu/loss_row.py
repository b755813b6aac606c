"""A row of cross-entropy over many classes: where it is, what is read of it, and what is left to be done."""

import math
from typing import Any, NamedTuple

from ..simd import advance, broadcast, get, reduce_max, row_pointer, where, widen
from .compile import formula
from .finish import Derivatives, Unfinished
from .options import is_largest_taken_away
from .outcome import RowSums
from .row import Row, transformed_scalar
from .shift import shifted_exp
from .slots import slopes_in, summed_in
from .strided import exps_row, is_strided, packed_rows, row_at, set_to_zero, streams_of, to_read, to_write
from .targets import weight_of


class Arrays(NamedTuple):
    """Those of the logits' shape, memory for packed rows of each, or the places or addresses of one row."""

    logits: Any
    soft_targets: Any
    grad: Any
    hess: Any
    targets_grad: Any


NOT_PACKED = Arrays(None, None, None, None, None)
"""No memory for packed rows, where classes lie side by side."""


@formula
def packed_in(arrays, n):
    return Arrays(*(packed_rows(array, n) for array in arrays))


@formula
def places_at(arrays, i, packed, copy):
    return Arrays(*(row_at(array, i, memory, copy) for array, memory in zip(arrays, packed, strict=True)))


@formula
def derivatives_at(places):
    if places.grad is None:
        return None
    streams = streams_of(places.logits, places.grad, places.hess, places.targets_grad)
    return Derivatives(streams, to_write(places.grad), to_write(places.hess), to_write(places.targets_grad))


@formula
def set_derivatives_to_zero(places):
    for place in (places.grad, places.hess, places.targets_grad):
        set_to_zero(place)


@formula
def exps_at(to, memory):
    return None if to is None else exps_row(to.grad, memory.exps, to.streams.grad)


@formula
def logit_of_target(place, y):
    """As it was given; it may lie where an exponential goes."""
    return math.nan if y is None else get(advance(place.start, y * place.stride), 0)


class Ahead(NamedTuple):
    logits: Any
    is_there: bool


@formula
def row_ahead(logits, i, is_there):
    """The classes of row i, if these lie side by side."""
    return Ahead(row_pointer(logits, i), where(is_strided(logits), False, is_there))


@formula
def row_to_sum(places, y, z_y, ahead, options):
    z, soft_targets = to_read(places.logits), to_read(places.soft_targets)
    u_y = math.nan if y is None else transformed_scalar(z_y, z, options)
    logits_ahead = None if ahead is None else where(ahead.is_there, ahead.logits, z)
    return Row(z, places.logits.n_classes, y, z_y, u_y, soft_targets, options.weight, logits_ahead)


@formula
def row_sums(row, sums, options):
    """What is to be solved."""
    w_y = weight_of(row.weight, row.target)
    # Lanes beyond the row are above a NaN too.
    above = where(row.z_y == row.z_y, sums.tally.above, float(row.n_classes))
    e_top = 0.0  # which nobody asks for
    if row.target is None or is_largest_taken_away(options):
        e_top = widen(reduce_max(shifted_exp(broadcast(sums.top, row.logits), sums.shift)))
    tally = sums.tally._replace(above=above)
    return RowSums(sums.others, row.u_y, w_y, sums.top, e_top, sums.shift, tally)


@formula
def unfinished_in(slots, slot, places, y, memory, scale, options):
    """The row that was summed and solved in this slot."""
    to, z = derivatives_at(places), places.logits.start
    if to is None:
        return None
    s, sums = summed_in(slots, slot)
    n_classes = places.logits.n_classes * (s != 0.0)
    soft_targets = to_write(places.soft_targets)  # packed already
    row = Row(z, n_classes, y, math.nan, sums.u_y, soft_targets, options.weight, None)
    return Unfinished(
        row,
        exps_at(to, memory),
        memory.shifts,
        memory.transformed,
        to,
        sums.w_y,
        sums.shift,
        sums.top,
        slopes_in(slots, slot),
        s * scale,
    )
