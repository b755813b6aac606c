"""Three short rows at a time: one is taken, one summed, one finished, and none waits for another.

To take a row is to copy its logits as they are computed with, and to find the largest. Once all of a set are
taken, and their shifts known, they are summed: exponentials replace the copies. Once these are solved, they
are finished, and as a row is, vector by vector, the next is taken in its place.
"""

import math
from typing import Any, NamedTuple

from ..simd import broadcast, first_lanes, lanes_of, maximum, reduce_max, store, wide
from .compile import formula, inline, or_none
from .derivatives import Factors
from .exact_sum import add, empty_sum
from .finish import Derivatives, finish_vector
from .options import transformed
from .row import Memory, Row
from .row_block import BlockSums, Stretch, ask_ahead, exponentials, near_logits
from .shift import Shift
from .tally import empty_tally, tail_like, tallied
from .vectors import full_vectors_end, largest_parts, load_logits


class ToTake(NamedTuple):
    logits: Any
    copy: Any
    n_classes: int  # 0 if no row is there
    target: int
    sample_weight: float


class ToSum(NamedTuple):
    row: Row  # of no target if its logit in the copy is −inf
    shift: Shift
    reference: float
    memory: Memory  # where its copy is, too
    target: int


class ToFinish(NamedTuple):
    row: Row
    exps: Any
    kept: Any
    to: Derivatives
    top: float
    factors: Factors
    n_classes: int  # 0 if no row is there
    target: int


@inline
def _take(to_take, j, inside, like, top, options):
    if j < to_take.n_classes:
        given = load_logits(to_take.logits, j, inside, like)
        store(to_take.copy, j, transformed(given, options.logit_scale, options.softcap))
        top = maximum(given, top)
    return top


@or_none
def _finish(to_finish, j, inside, like, options):
    if j < to_finish.n_classes:
        finish_vector(to_finish, to_finish.factors, j, inside, like, options)


@formula
def copy_length(n_classes, z):
    """Of a row: whole wide vectors."""
    lanes = lanes_of(wide(z))
    return (n_classes + lanes - 1) // lanes * lanes


@formula
def _near(to_sum, n_classes):
    if to_sum is None:
        return None
    copy, stop = Stretch(to_sum.memory.exps, 0, True), copy_length(n_classes, to_sum.memory.exps)
    return near_logits(to_sum.memory.copies.near, copy, 0, stop, to_sum.shift)


@formula
def _with_vector(sums, to_sum, near, j, inside, like, options):
    """The sums, and those of a vector of the row."""
    if to_sum is None:
        return sums
    row, shift, reference, memory, _ = to_sum
    copy = Stretch(memory.exps, 0, True)
    e, terms = exponentials(row, copy, near, j, inside, like, shift, reference, memory.exps, memory, options)
    tally = tallied(sums.tally, terms, options.label_smoothing, options.entropy, options.rank)
    return BlockSums(add(sums.others, e), tally)


@formula
def _ask_ahead(to_sum, j, like):
    if to_sum is not None:
        ask_ahead(to_sum.row, j, like)


@inline
def walk(n_classes, to_take, to_sum, to_finish, options):
    """The sums over the row `to_sum`, if it is not None, and the largest logit of `to_take`."""
    z, like = to_take.copy, wide(to_take.copy)
    full, near = full_vectors_end(like, 0, n_classes), _near(to_sum, n_classes)
    top, sums = broadcast(-math.inf, like), BlockSums(empty_sum(z), empty_tally(z))
    for j in range(0, full, lanes_of(like)):
        _ask_ahead(to_sum, j, like)
        _finish(to_finish, j, None, like, options)
        top = _take(to_take, j, None, like, top, options)
        sums = _with_vector(sums, to_sum, near, j, None, like, options)
    tail = tail_like(like, z, options.label_smoothing, options.entropy)
    top = largest_parts(top, tail)
    for j in range(full, n_classes, lanes_of(tail)):
        inside = first_lanes(n_classes - j, tail)
        _finish(to_finish, j, inside, tail, options)
        top = _take(to_take, j, inside, tail, top, options)
        sums = _with_vector(sums, to_sum, near, j, inside, tail, options)
    return sums, float(reduce_max(top))
