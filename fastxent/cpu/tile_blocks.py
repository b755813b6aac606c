"""Many classes of rows one a lane, summed as `row` sums those of one row, so that the bits are the same.

There, classes j, j + lanes, j + 2·lanes ... of a block share a lane, what options ask for is added up by
WIDTH of them, and lanes are then folded into one sum. Here each such group of classes has sums of its own
(see `groups`), which are folded in the same order.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    WIDTH,
    broadcast,
    empty_float64,
    empty_row,
    folded,
    lanes_of,
    load,
    maximum,
    narrow,
    store,
    vector_a_lane,
    where,
    widen,
)
from .columns import read, write
from .compile import formula, inline
from .derivatives import factors_for
from .exact_sum import Sum, add, bias_for, empty_sum, value_of
from .groups import sum_of_groups
from .options import transformed
from .outcome import RowSums
from .row_block import BlockSums
from .shape import BLOCK, block_length, end_of_block, n_classes_of, number_of_blocks
from .shift import narrowed, ratio, shift_for, shifted_exp
from .sums import Sums, plus_block
from .tally import Tally, empty_tally, empty_terms, reference_for, tallied, together
from .tile import (
    are_targets,
    begin,
    derivatives_of,
    derivatives_of_targets,
    end_begun,
    exponentials,
    put_logits,
    with_target,
)
from .vectors import load_float64


class TileMemory(NamedTuple):
    """Vectors of the tile's lanes one after the other: largest logits of each block, and the groups' sums."""

    tops: Any
    others_max: Any  # but for the targets' logits
    others_high: Any
    others_low: Any
    others_bias: Any
    entropy_high: Any
    entropy_low: Any
    entropy_bias: Any
    above: Any
    mass: Any  # float64 from here on
    mass_gap: Any


@formula
def memory_for_blocks(logits):
    lanes = lanes_of(logits)
    blocks, groups = lanes * number_of_blocks(n_classes_of(logits), logits), lanes * lanes
    return TileMemory(
        *(empty_row(blocks, logits) for _ in range(2)),
        *(empty_row(groups, logits) for _ in range(7)),
        *(empty_float64(groups) for _ in range(2)),
    )


@inline
def _clear(memory, n, empty, z, options):
    """The biases of all groups, and empty sums in those that no class of n is in."""
    lanes = lanes_of(z)
    for group in range(0, lanes * lanes, lanes):
        store(memory.others_bias, group, empty.others.bias)
        if options.entropy is not None:
            store(memory.entropy_bias, group, empty.tally.entropy_gap.bias)
    for group in range(n * lanes, lanes * lanes, lanes):
        _store_sums(memory, group, empty, options)


@formula
def _sum_at(high, low, group, empty):
    return Sum(load(high, group), load(low, group), empty.bias)


@formula
def _load_sums(memory, group, empty, z, options):
    mass, mass_gap, entropy_gap, above = empty.tally
    if options.label_smoothing is not None:
        mass, mass_gap = load_float64(memory.mass, group, z), load_float64(memory.mass_gap, group, z)
    if options.entropy is not None:
        entropy_gap = _sum_at(memory.entropy_high, memory.entropy_low, group, entropy_gap)
    if options.rank is not None:
        above = load(memory.above, group)
    others = _sum_at(memory.others_high, memory.others_low, group, empty.others)
    return BlockSums(others, Tally(mass, mass_gap, entropy_gap, above))


@formula
def _store_sums(memory, group, sums, options):
    others, tally = sums
    store(memory.others_high, group, others.high)
    store(memory.others_low, group, others.low)
    if options.label_smoothing is not None:
        store(memory.mass, group, tally.mass)
        store(memory.mass_gap, group, tally.mass_gap)
    if options.entropy is not None:
        store(memory.entropy_high, group, tally.entropy_gap.high)
        store(memory.entropy_low, group, tally.entropy_gap.low)
    if options.rank is not None:
        store(memory.above, group, tally.above)


@formula
def _exact_sum_of_groups(high, low, bias, z):
    return folded(value_of(Sum(*(load(part, 0, vector_a_lane(z)) for part in (high, low, bias)))), z)


@formula
def _tally_of_groups(memory, z, options):
    mass = mass_gap = entropy_gap = above = widen(broadcast(0.0, z))
    if options.label_smoothing is not None:
        mass, mass_gap = sum_of_groups(memory.mass, z), sum_of_groups(memory.mass_gap, z)
    if options.entropy is not None:
        entropy_gap = _exact_sum_of_groups(memory.entropy_high, memory.entropy_low, memory.entropy_bias, z)
    if options.rank is not None:
        above = folded(widen(load(memory.above, 0, vector_a_lane(z))), z)
    return Tally(mass, mass_gap, entropy_gap, above)


@inline
def _load_blocks(tile, memory, options):
    """The logits into the tile, the largest of each block into the memory.

    Gives the targets' logits and weights.
    """
    z = tile.exps
    z_y, w_y, number = broadcast(0.0, z), widen(broadcast(1.0, z)), broadcast(0.0, z)
    for start in range(0, tile.n_classes, block_length(z)):
        block_max = other_max = broadcast(-math.inf, z)
        for j in range(start, end_of_block(start, tile.n_classes, z)):
            column = read(tile.logits, j, tile.kept, z)
            block_max = maximum(column, block_max)
            is_target = are_targets(tile, number)
            other_max = maximum(put_logits(tile, j, column, is_target, options), other_max)
            z_y, w_y = with_target(z_y, w_y, column, is_target, j, options)
            number += 1.0
        store(memory.tops, start // BLOCK, block_max)
        store(memory.others_max, start // BLOCK, other_max)
    return z_y, w_y


@formula
def _top_of(tops, start, options):
    """The largest transformed logit of the block that starts there."""
    return transformed(load(tops, start // BLOCK), options)


@formula
def _class_after(k, j, first, stop, lanes):
    """The class that `_sum_block` takes after class k, which shares a lane with class j; the last if none."""
    end = min(first + WIDTH * lanes, stop)
    next_lane = where(j + 1 < min(first + lanes, stop), j + 1, min(end, stop - 1))
    return where(k + lanes < end, k + lanes, next_lane)


@inline
def _sum_block(tile, memory, start, stop, z_y, shift, bias, reference, options):
    """The exponentials of one block, summed in the groups."""
    z, lanes = tile.exps, lanes_of(tile.exps)
    empty = BlockSums(empty_sum(bias), empty_tally(bias))
    _clear(memory, stop - start, empty, z, options)
    begun = begin(z, start, shift, options)
    for first in range(start, stop, WIDTH * lanes):
        for j in range(first, min(first + lanes, stop)):
            group = (j - first) * lanes
            others, tally = empty if first == start else _load_sums(memory, group, empty, z, options)
            terms = odd_terms = empty_terms(z, options)
            for k in range(j, min(first + WIDTH * lanes, stop), lanes):
                ahead = _class_after(k, j, first, stop, lanes)
                e, u, begun = end_begun(z, k, ahead, begun, shift, options)
                e, terms_k = exponentials(e, u, tile, k, are_targets(tile, k), z_y, reference, options)
                others = add(others, e)
                odd_terms, terms = terms, together(odd_terms, terms_k)
            tally = tallied(tally, together(odd_terms, terms), options)
            _store_sums(memory, group, BlockSums(others, tally), options)


@inline
def sum_blocks(memory, tile, options):
    """The sums over every row; the exponentials stay in the tile, each block under its own shift."""
    z = tile.exps
    z_y, w_y = _load_blocks(tile, memory, options)
    u_y = widen(transformed(z_y, options))
    top, nothing = widen(_top_of(memory.tops, 0, options)), widen(broadcast(0.0, z))
    sums = Sums(nothing, shift_for(top, z), top, Tally(nothing, nothing, nothing, nothing))
    for start in range(0, tile.n_classes, block_length(z)):
        top, other = widen(_top_of(memory.tops, start, options)), _top_of(memory.others_max, start, options)
        shift, reference = shift_for(top, z), narrow(reference_for(top, z), z)
        stop, near = end_of_block(start, tile.n_classes, z), narrowed(shift, z)
        bias = bias_for(other, near, tile.y, tile.grad, options)
        _sum_block(tile, memory, start, stop, z_y, near, bias, reference, options)
        others = _exact_sum_of_groups(memory.others_high, memory.others_low, memory.others_bias, z)
        block = Sums(others, shift, top, _tally_of_groups(memory, z, options))
        sums = plus_block(sums, block, start, stop, tile.y, u_y, z, options)
    e_top = widen(shifted_exp(narrow(sums.top, z), narrowed(sums.shift, z)))
    return RowSums(sums.others, u_y, w_y, sums.top, e_top, sums.shift, sums.tally)


@inline
def finish_blocks(tile, memory, sums, slopes, row_factor, options):
    """The derivatives, from the exponentials."""
    z = tile.exps
    of_targets = derivatives_of_targets(tile, sums, slopes, row_factor, options)
    top, number = narrow(sums.top, z), broadcast(0.0, z)
    for start in range(0, tile.n_classes, block_length(z)):
        shift = shift_for(widen(_top_of(memory.tops, start, options)), z)
        factors = factors_for(slopes, row_factor, ratio(shift, sums.shift), z)
        for j in range(start, end_of_block(start, tile.n_classes, z)):
            g = derivatives_of(tile, j, are_targets(tile, number), top, factors, of_targets, options)
            write(tile.grad, j, g, tile.inside)
            number += 1.0
