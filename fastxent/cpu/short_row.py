"""Three short rows at a time: one is taken, one summed, one finished, and none waits for another.

To take a row is to copy its logits as they are computed with, and to find the largest. Once all of a set are
taken, and their shifts known, they are summed: exponentials replace the copies. Once these are solved, they
are finished, and as a row is, vector by vector, the next is taken in its place.
"""

import math
from typing import Any, NamedTuple

from ..simd import broadcast, first_lanes, lanes_of, maximum, reduce_max, store, widest
from .block_logits import Stretch, centred_logits
from .compile import formula, inline, or_none
from .derivatives import Factors
from .exact_sum import BIAS, empty_sum
from .finish import Derivatives, finish_vector
from .options import transformed
from .row import Memory, Row
from .row_block import Block, BlockSums, ask_ahead, with_vector
from .shift import Shift
from .tally import empty_tally, tail_like, wide_like
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
    bias: float
    reference: float
    memory: Memory  # where its copy is, too
    target: int


class ToFinish(NamedTuple):
    row: Row
    exps: Any
    transformed: Any
    to: Derivatives
    top: float
    factors: Factors
    n_classes: int  # 0 if no row is there
    target: int


@inline
def _take(to_take, j, inside, like, row_max, options):
    if j < to_take.n_classes:
        given = load_logits(to_take.logits, j, inside, like)
        store(to_take.copy, j, transformed(given, options))
        row_max = maximum(given, row_max)
    return row_max


@or_none
def _finish(to_finish, j, inside, like, options):
    if j < to_finish.n_classes:
        finish_vector(to_finish, to_finish.factors, j, inside, like, options)


@formula
def copy_length(n_classes, z):
    """Of a row: whole vectors, however wide."""
    lanes = lanes_of(widest(z))
    return (n_classes + lanes - 1) // lanes * lanes


@formula
def _block(to_sum, n_classes):
    if to_sum is None:
        return None
    row, shift, _, reference, memory, _ = to_sum
    copy, stop = Stretch(memory.exps, 0, True), copy_length(n_classes, memory.exps)
    centred = centred_logits(memory.centred, copy, 0, stop, shift)
    return Block(row, copy, centred, shift, reference, memory.exps, memory.transformed)


@inline
def walk(n_classes, to_take, to_sum, to_finish, options):
    """The sums over the row `to_sum`, if it is not None, and the largest logit of `to_take`."""
    z, like = to_take.copy, wide_like(to_take.copy, options)
    full, block = full_vectors_end(like, 0, n_classes), _block(to_sum, n_classes)
    bias = broadcast(BIAS if to_sum is None else to_sum.bias, z)
    row_max, sums = broadcast(-math.inf, like), BlockSums(empty_sum(bias), empty_tally(bias))
    for j in range(0, full, lanes_of(like)):
        if to_sum is not None:
            ask_ahead(to_sum.row, j, like)
        _finish(to_finish, j, None, like, options)
        row_max = _take(to_take, j, None, like, row_max, options)
        if to_sum is not None:
            sums = with_vector(sums, block, j, None, like, options)
    tail = tail_like(like, z, options)
    row_max = largest_parts(row_max, tail)
    for j in range(full, n_classes, lanes_of(tail)):
        inside = first_lanes(n_classes - j, tail)
        _finish(to_finish, j, inside, tail, options)
        row_max = _take(to_take, j, inside, tail, row_max, options)
        if to_sum is not None:
            sums = with_vector(sums, block, j, inside, tail, options)
    return sums, float(reduce_max(row_max))
