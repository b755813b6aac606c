"""Three short rows at a time: one is taken, one summed, one finished, and none waits for another.

To take a row is to copy its logits as they are computed with, and to find the largest. Once all of a set are
taken, and their shifts known, they are summed: exponentials replace the copies. Once these are solved, they
are finished, and as a row is, vector by vector, the next is taken in its place.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    first_lanes,
    get,
    lanes_of,
    maximum,
    pair,
    put,
    reduce_max,
    reduce_sum,
    row_pointer,
    store,
    where,
)
from .block_logits import Stretch, centred_logits, largest_other
from .compile import formula, inline, or_none
from .derivatives import Factors
from .exact_sum import BIAS, empty_sum, value_of
from .finish import Derivatives, finish_vector
from .loss_row import Arrays
from .options import transformed
from .row import Row
from .row_block import Block, BlockSums, ask_ahead, with_vector
from .row_set import SetMemory, copy_length, numbers_of_row, places_of
from .shape import nearest_of
from .shift import Shift
from .strided import THROUGH_CACHES, put_or_none
from .tally import empty_tally, long_enough, over_lanes, reference_for
from .targets import is_read, sample_weight_of, target_of
from .vectors import full_vectors_end, largest_parts, load_logits


@formula
def _places_of_row(arrays, i):
    """The address of its first class in each, for those that are there."""
    return Arrays(*(None if array is None else row_pointer(array, i) for array in arrays))


@formula
def _is_target_left_out(y, options):
    """True if the target's logit in the copy is −inf, and its exponential 0 by itself; or else None.

    Of smoothing's and the entropy's sums it is a part.
    """
    is_summed = options.label_smoothing is not None or options.entropy is not None
    return None if y is None or is_summed else True


class ToTake(NamedTuple):
    logits: Any
    n_classes: int  # 0 if no row is there
    target: int
    sample_weight: float  # 0 if no row is there
    memory: SetMemory  # where its copy goes, too


@formula
def row_to_take(chunk, i, memory):
    nearest = nearest_of(i, chunk.rows)
    y, s = target_of(chunk.targets, nearest), sample_weight_of(chunk.sample_weight, nearest)
    is_kept = (i < chunk.rows[1]) & is_read(y, s, chunk.ignore_index)
    logits, n_classes = row_pointer(chunk.arrays.logits, nearest), where(is_kept, chunk.n_classes, 0)
    return ToTake(logits, n_classes, y, where(is_kept, s, 0.0), memory)


@inline
def _take_vector(to_take, j, inside, like, row_max, options):
    if j < to_take.n_classes:
        given = load_logits(to_take.logits, j, inside, like)
        store(to_take.memory.exps, j, transformed(given, options))
        row_max = maximum(given, row_max)
    return row_max


@formula
def _put_largest_and_target(to_take, row_max, options):
    z, y, other_max, to = to_take.logits, to_take.target, row_max, places_of(to_take.memory)
    if y is not None:
        z_y = get(z, y)
        other_max = largest_other(z, y, z_y, 0, to_take.n_classes, row_max)
        put(to.z_y, 0, z_y)
        if options.weight is not None:
            put(to.w_y, 0, options.weight[y])
        if _is_target_left_out(y, options) is not None:
            put(to_take.memory.exps, y, -math.inf)
    put(to.row_max, 0, row_max)
    put(to.other_max, 0, other_max)


@inline
def _put_taken(to_take, row_max, options):
    put(places_of(to_take.memory).sample_weight, 0, to_take.sample_weight)
    if to_take.n_classes > 0:
        _put_largest_and_target(to_take, row_max, options)


class ToSum(NamedTuple):
    row: Row  # of no target if its logit in the copy is −inf
    shift: Shift
    bias: float
    reference: float
    memory: SetMemory  # where its copy is, too


@formula
def row_to_sum(chunk, i, memory):
    nearest, options, numbers = nearest_of(i, chunk.rows), chunk.options, numbers_of_row(memory)
    places, y, z_y = _places_of_row(chunk.arrays, nearest), target_of(chunk.targets, nearest), math.nan
    z, n_classes = places.logits, chunk.n_classes
    if options.rank is not None:  # itself: rounding its float64 would make 0 of a subnormal one
        z_y = get(z, max(0, min(y, n_classes - 1)))
    target = None if _is_target_left_out(y, options) is not None else y
    row = Row(z, n_classes, target, z_y, math.nan, places.soft_targets, options.weight, None)
    return ToSum(row, numbers.shift, numbers.bias, reference_for(numbers.top, z), memory)


@formula
def _block(to_sum):
    if to_sum is None:
        return None
    row, shift, _, reference, memory = to_sum
    copy, stop = Stretch(memory.exps, 0, True), copy_length(row.n_classes, memory.exps)
    centred = centred_logits(memory.centred, copy, 0, stop, shift)
    return Block(row, copy, centred, shift, reference, memory.exps, memory.transformed)


@formula
def _sum_vector(sums, block, j, inside, like, options):
    return sums if block is None else with_vector(sums, block, j, inside, like, options)


@formula
def _put_summed(to_sum, sums, options):
    to = places_of(to_sum.memory)
    put(to.others, 0, reduce_sum(value_of(sums.others)))
    if not (options.label_smoothing is options.entropy is options.rank is None):
        for place, number in zip(to.tally, over_lanes(sums.tally, options), strict=True):
            put(place, 0, number)


class ToFinish(NamedTuple):
    row: Row  # of no classes if no row is there
    exps: Any
    transformed: Any
    to: Derivatives
    top: float
    factors: Factors
    target_grad: Any  # an address, as is the next
    target_hess: Any


@formula
def row_to_finish(chunk, i, memory):
    """None if there are no derivatives."""
    if chunk.arrays.grad is None:
        return None
    nearest, numbers, places = nearest_of(i, chunk.rows), numbers_of_row(memory), places_of(memory)
    z, soft_targets, *derivatives = _places_of_row(chunk.arrays, nearest)
    y, n_classes = target_of(chunk.targets, nearest), where(numbers.sample_weight != 0.0, chunk.n_classes, 0)
    return ToFinish(
        Row(z, n_classes, y, math.nan, math.nan, soft_targets, chunk.options.weight, None),
        memory.exps,
        memory.transformed,
        Derivatives(THROUGH_CACHES, *derivatives),
        numbers.top,
        numbers.factors,
        places.target_grad,
        places.target_hess,
    )


@or_none
def _finish_vector(to_finish, j, inside, like, options):
    if j < to_finish.row.n_classes:
        finish_vector(to_finish, to_finish.factors, j, inside, like, options)


@formula
def _put_target_derivatives(to_finish):
    to, y = to_finish.to, to_finish.row.target
    if y is not None:
        put(to.grad, y, get(to_finish.target_grad, 0))
        put_or_none(to.hess, y, get(to_finish.target_hess, 0))


@or_none
def _finish_target(to_finish):
    """After all other classes."""
    if to_finish.row.n_classes > 0:
        _put_target_derivatives(to_finish)


@inline
def _walk(n_classes, to_take, to_sum, to_finish, options):
    """The sums over the row `to_sum`, if it is not None, and the largest logit of `to_take`."""
    z, block = to_take.memory.exps, _block(to_sum)
    # Three rows are at work: registers serve two vectors of each.
    like, bias = long_enough(pair(z), z, options), broadcast(BIAS if to_sum is None else to_sum.bias, z)
    row_max, sums = broadcast(-math.inf, like), BlockSums(empty_sum(bias), empty_tally(bias))
    full = full_vectors_end(like, 0, n_classes)
    for j in range(0, full, lanes_of(like)):
        if to_sum is not None:
            ask_ahead(to_sum.row, j, like)
        _finish_vector(to_finish, j, None, like, options)
        row_max = _take_vector(to_take, j, None, like, row_max, options)
        sums = _sum_vector(sums, block, j, None, like, options)
    tail = long_enough(broadcast(0.0, z), z, options)
    row_max = largest_parts(row_max, tail)
    for j in range(full, n_classes, lanes_of(tail)):
        inside = first_lanes(n_classes - j, tail)
        _finish_vector(to_finish, j, inside, tail, options)
        row_max = _take_vector(to_take, j, inside, tail, row_max, options)
        sums = _sum_vector(sums, block, j, inside, tail, options)
    return sums, float(reduce_max(row_max))


@inline
def step(to_take, to_sum, to_finish, options):
    """One row is summed, if it is there; another is finished, and one taken in its place."""
    n_classes = to_sum.row.n_classes
    if numbers_of_row(to_sum.memory).sample_weight != 0.0:
        sums, row_max = _walk(n_classes, to_take, to_sum, to_finish, options)
        _put_summed(to_sum, sums, options)
    else:
        _, row_max = _walk(n_classes, to_take, None, to_finish, options)
    _finish_target(to_finish)
    _put_taken(to_take, row_max, options)
