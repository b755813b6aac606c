"""A block of one row: its exponentials and their sums, and the largest logit of the block after it.

Classes are taken a wide vector at a time.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    elements_to_line,
    exp_of_reduced,
    first_lanes,
    has_long_registers,
    lanes_of,
    load,
    maximum,
    only_lane,
    prefetch,
    reduced_for_exp,
    skip,
    where,
    wide,
)
from .block_logits import Stretch, centred_logits, load_stretch
from .compile import formula, inline, specialised_formula
from .derivatives import to_keep
from .exact_sum import add, empty_sum
from .finish import finish_inner
from .options import mass_at
from .shape import AHEAD, block_length, end_of_block
from .tally import Tally, empty_tally, long_enough, tallied, terms_of
from .vectors import full_vectors_end, load_logits, store_inside


class BlockSums(NamedTuple):
    others: Any
    tally: Tally


@inline
def _zero_lane(lane, e, z):
    """The exponentials of a vector, 0 in the target's lane if that is in it."""
    if 0 <= lane < lanes_of(z):
        e = where(only_lane(lane, z), 0.0, e)
    return e


class Block(NamedTuple):
    """What the exponentials of a block, or of a short row, are computed from, and where they go."""

    row: Any
    logits: Stretch
    centred: Stretch  # less their offset
    shift: Any
    reference: float
    exps: Any
    transformed: Any  # logits, for the derivatives


@formula
def _argument(block, j, inside, like):
    """What the exponentials of a vector of classes are computed from."""
    return reduced_for_exp(load_stretch(block.centred, j, inside, like), block.shift.exponent)


@formula
def _others(e, block, j, inside, like, options):
    """Stores exponentials, if asked. Gives them, 0 for the target, and what the classes add to the tally."""
    row, exps = block.row, block.exps
    z = load_logits(row.logits, j, inside, like)
    u = load_stretch(block.logits, j, inside, like)
    within = inside if block.logits.is_padded is None else None
    if exps is not None:
        store_inside(exps, j, to_keep(e, u, options), within)
    if block.transformed is not None:
        store_inside(block.transformed, j, u, within)
    m = mass_at(row, j, inside, like, options)
    terms = terms_of(z, row.z_y, u, e, m, block.reference, options)
    return e if row.target is None else _zero_lane(row.target - j, e, like), terms


@formula
def _added(sums, e, terms, options):
    tally = tallied(sums.tally, terms, options)
    return BlockSums(add(sums.others, e), tally)


@formula
def with_vector(sums, block, j, inside, like, options):
    """The sums, and those of a vector of classes."""
    e, terms = _others(exp_of_reduced(*_argument(block, j, inside, like)), block, j, inside, like, options)
    return _added(sums, e, terms, options)


@formula
def ask_ahead(row, j, like):
    far = j + AHEAD * lanes_of(row.logits)
    prefetch(row.logits, far, like)
    if row.soft_targets is not None:
        prefetch(row.soft_targets, far, like)


class Meanwhile(NamedTuple):
    """What else is done on the way through a block, as far from its start as the vector is that is summed."""

    start: int
    following: Any  # where the block after it starts, whose largest logits are found
    there: Any  # its first whole line
    last: int  # and its last vector, from there
    computed: Any  # unless copies are made of them, then
    before: Any  # the row that is finished
    inner: Any


@formula
def _meanwhile(start, row, computed, before, inner, like):
    """The block after is at the row's end that of the row ahead, and makes one vector at least."""
    block, lanes, n_classes = block_length(row.logits), lanes_of(like), row.n_classes
    first = min(start + block, n_classes - lanes)
    following = skip(row.logits, first)
    if row.ahead is not None:
        is_ahead = start + block >= n_classes
        following, first = where(is_ahead, row.ahead, following), where(is_ahead, 0, first)
    last = min(block, n_classes - first) - lanes
    lead = max(0, min(elements_to_line(following), last))
    return Meanwhile(start, following, skip(following, lead), last - lead, computed, before, inner)


@inline
def _first_ahead(meanwhile, full, like):
    """Of the block after, the first vector; whole lines are quicker to read from then on."""
    ahead = broadcast(-math.inf, like)
    if meanwhile.computed is None and meanwhile.start < full:
        ahead = load(meanwhile.following, 0, like)
    return ahead


@formula
def _max_ahead(meanwhile, j, ahead):
    """Copies of the logits are made a block at a time, and their largest found then."""
    if meanwhile.computed is not None:
        return ahead
    return maximum(load(meanwhile.there, min(j - meanwhile.start, meanwhile.last), ahead), ahead)


@inline
def _sum_at_once(sums, block, full, meanwhile, ahead, options):
    unsummed = broadcast(0.0, ahead)  # of the vector before, for which nothing need wait
    for j in range(meanwhile.start, full, lanes_of(ahead)):
        finish_inner(meanwhile.before, meanwhile.inner, j, options)
        ask_ahead(block.row, j, ahead)
        ahead = _max_ahead(meanwhile, j, ahead)
        e = exp_of_reduced(*_argument(block, j, None, ahead))
        e, terms = _others(e, block, j, None, ahead, options)
        sums = _added(sums, unsummed, terms, options)
        unsummed = e
    return BlockSums(add(sums.others, unsummed), sums.tally), ahead


@inline
def _sum_in_turn(sums, block, full, meanwhile, ahead, options):
    start, lanes = meanwhile.start, lanes_of(ahead)
    for j in range(start, full, lanes):
        finish_inner(meanwhile.before, meanwhile.inner, j, options)
        ahead = _max_ahead(meanwhile, j, ahead)
    if start < full:
        # Arguments are reduced a vector ahead: the processor's schedulers are short, and exponentials long.
        argument = _argument(block, start, None, ahead)
        for j in range(start, full, lanes):
            ask_ahead(block.row, j, ahead)
            e = exp_of_reduced(*argument)
            argument = _argument(block, min(j + lanes, full - lanes), None, ahead)
            e, terms = _others(e, block, j, None, ahead, options)
            sums = _added(sums, e, terms, options)
    return sums, ahead


@specialised_formula
def _sum_vectors(sums, block, full, meanwhile, ahead, options):
    """The whole vectors of a block: one loop, or two where there are too few registers for one."""
    return _sum_at_once if has_long_registers() else _sum_in_turn


@inline
def sum_block(row, logits, start, shift, bias, reference, exps, memory, before, inner, options):
    """The lanes' sums over a block, and the largest logits ahead if there are no copies of them.

    On the way the inner vectors of the same block of the row before are finished.
    """
    z, stop, computed = row.logits, end_of_block(start, row.n_classes, row.logits), memory.computed
    like = long_enough(wide(z), z, options)
    full = full_vectors_end(like, start, stop)
    centred = centred_logits(memory.centred, logits, start, stop, shift)
    block = Block(row, logits, centred, shift, reference, exps, memory.transformed)
    meanwhile = _meanwhile(start, row, computed, before, inner, like)
    sums, ahead = BlockSums(empty_sum(bias), empty_tally(bias)), _first_ahead(meanwhile, full, like)
    sums, ahead = _sum_vectors(sums, block, full, meanwhile, ahead, options)
    tail = long_enough(broadcast(0.0, z), z, options)
    for j in range(full, stop, lanes_of(tail)):
        sums = with_vector(sums, block, j, first_lanes(stop - j, tail), tail, options)
    return sums, ahead
