"""The derivatives of a row, from its exponentials and its slopes.

Summing a row keeps the processor busy, and storing its derivatives the memory. So a row is left unfinished
until a later one is summed, and the loop that does that finishes it on the way: vector by vector, each
before the later row's exponentials may take the place of its own. Rows of an array have equally many
classes, and hence the same blocks.
"""

from typing import Any, NamedTuple

from ..simd import broadcast, first_lanes, get, lanes_of, put, store_masked, wide
from .compile import formula, inline, or_none
from .derivatives import (
    Factors,
    factors_for,
    gradient,
    second_derivative,
    target_derivatives,
    targets_gradient,
)
from .options import mass_at
from .outcome import Slopes
from .shape import block_length, end_of_block
from .shift import Shift, ratio
from .strided import Streams, put_or_none
from .tally import long_enough
from .vectors import full_vectors_end, load_inside, store_full, value_at


class Derivatives(NamedTuple):
    """Where those of a row go, as addresses, and how they are stored; the last two may be None."""

    streams: Streams
    grad: Any
    hess: Any
    targets_grad: Any


class Unfinished(NamedTuple):
    """A row whose slopes are known; it has no classes if there is none."""

    row: Any
    exps: Any  # under the shifts of their blocks
    shifts: Any
    transformed: Any  # logits, or None
    to: Derivatives
    w_y: float
    shift: Shift
    top: float
    slopes: Slopes
    row_factor: float  # sample weight over divisor


@formula
def place_of_shift(start, z):
    """Where that of the block from `start` on is among those of a row."""
    return start // block_length(z) * 2


@formula
def _store_inside(p, j, vector, inside, past_caches):
    if inside is None:
        store_full(p, j, vector, past_caches)
    else:
        store_masked(p, j, vector, inside)


@formula
def finish_vector(unfinished, factors, j, inside, like, options):
    """The derivatives of one vector of classes."""
    row, to = unfinished.row, unfinished.to
    e = load_inside(unfinished.exps, j, inside, like)
    u = value_at(unfinished.transformed, 0.0, j, inside, like)
    m = mass_at(row, j, inside, like, options)
    w = value_at(row.weight, 1.0, j, inside, like)
    g = gradient(e, u, m, factors, options)
    _store_inside(to.grad, j, g, inside, to.streams.grad)
    if to.hess is not None:
        h = second_derivative(e, factors, options)
        _store_inside(to.hess, j, h, inside, to.streams.hess)
    if to.targets_grad is not None:
        t = targets_gradient(unfinished.top - u, w, factors, options)
        _store_inside(to.targets_grad, j, t, inside, to.streams.targets_grad)


class Inner(NamedTuple):
    """What remains of a block without its edges: full vectors, which may be stored past the caches."""

    factors: Factors
    lead: int  # classes of the block before them
    end: int


@formula
def _like(unfinished, options):
    """As the row is taken that is summed at the same time."""
    return long_enough(wide(unfinished.exps), unfinished.exps, options)


@formula
def _inner_of(unfinished, start, stop, options):
    lead = min(unfinished.to.streams.lead, stop - start)
    shifts, at = unfinished.shifts, place_of_shift(start, unfinished.exps)
    block_ratio = ratio(Shift(get(shifts, at), get(shifts, at + 1)), unfinished.shift)
    factors = factors_for(unfinished.slopes, unfinished.row_factor, block_ratio, unfinished.exps)
    return Inner(factors, lead, full_vectors_end(_like(unfinished, options), start + lead, stop))


@or_none
def finish_edges(unfinished, start, options):
    """Finishes the block that starts there but for its inner vectors."""
    z, stop = unfinished.exps, end_of_block(start, unfinished.row.n_classes, unfinished.exps)
    inner, like = _inner_of(unfinished, start, stop, options), broadcast(0.0, z)
    for edge in range(2):
        first, end = (start, start + inner.lead) if edge == 0 else (inner.end, stop)
        for j in range(first, end, lanes_of(z)):
            finish_vector(unfinished, inner.factors, j, first_lanes(end - j, like), like, options)
    return inner


@or_none
def finish_inner(unfinished, inner, j, options):
    """Finishes the inner vector at class j + lead, if the block has one there."""
    like = _like(unfinished, options)
    if j + inner.lead < inner.end:
        finish_vector(unfinished, inner.factors, j + inner.lead, None, like, options)


@or_none
def finish_target(unfinished, options):
    """The derivatives of an integer target's class, where p − 1 would have cancelled; after all others."""
    if unfinished.row.n_classes > 0:
        _store_target(unfinished, options)


@formula
def _store_target(unfinished, options):
    row, to, w_y, row_factor = unfinished.row, unfinished.to, unfinished.w_y, unfinished.row_factor
    if row.target is None:
        return
    g, h = target_derivatives(unfinished.slopes, w_y, row.u_y, row.n_classes, row_factor, options)
    put(to.grad, row.target, g)
    put_or_none(to.hess, row.target, h)


@inline
def finish_classes(unfinished, first, last, options):
    """Finishes the blocks from class `first` on, to before `last`."""
    z = unfinished.exps
    for start in range(first, last, block_length(z)):
        inner = finish_edges(unfinished, start, options)
        for j in range(start, inner.end - inner.lead, lanes_of(_like(unfinished, options))):
            finish_inner(unfinished, inner, j, options)


@or_none
def finish(unfinished, options):
    """Finishes the row at once."""
    finish_classes(unfinished, 0, unfinished.row.n_classes, options)
    finish_target(unfinished, options)
