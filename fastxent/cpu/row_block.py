"""A block of one row: its exponentials and their sums, and the largest logit of the block after it.

Classes are taken a wide vector at a time. Logits of fewer bits than they are computed in are converted, and
those that options transform are transformed, a block at a time into a copy: each of two short loops has
more at work at once than one long loop.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    arithmetic_type,
    broadcast,
    empty_row,
    exp_or_zero,
    first_lanes,
    has_long_registers,
    lanes_of,
    load,
    maximum,
    only_lane,
    prefetch,
    reduce_max,
    skip,
    store,
    where,
    wide,
)
from .compile import formula, inline, specialised_formula
from .derivatives import to_keep
from .exact_sum import add, empty_sum
from .finish import finish_inner
from .masses import mass_at
from .options import transformed
from .shape import AHEAD, block_length, end_of_block
from .shift import less_offset
from .tally import Tally, empty_tally, tail_like, tallied, terms_of, wide_like
from .vectors import full_vectors_end, load_logits, store_inside


class Copies(NamedTuple):
    """Working memory for logits of a block, or None."""

    near: Any  # less their offset
    computed: Any  # as they are computed with, if that is not as given


class Stretch(NamedTuple):
    """Where the logits of a block are: logit j at j − origin."""

    start: Any
    origin: int
    is_padded: Any = None  # True if whole wide vectors are there, −inf beyond the row; or else None


@formula
def _load_stretch(stretch, j, inside, like):
    inside = None if stretch.is_padded is not None else inside
    return load_logits(stretch.start, j - stretch.origin, inside, like)


class BlockSums(NamedTuple):
    others: Any
    tally: Tally


@formula
def copies_for(logits, n_threads, options):
    return Copies(
        empty_row(n_threads * block_length(logits), logits),
        _memory_for_computed(logits, n_threads, options.logit_scale, options.softcap),
    )


@specialised_formula
def _memory_for_computed(logits, n_threads, logit_scale, softcap):
    if logit_scale is softcap is None and arithmetic_type(logits.dtype) == logits.dtype:
        return lambda logits, n_threads, logit_scale, softcap: None
    return lambda logits, n_threads, logit_scale, softcap: empty_row(n_threads * block_length(logits), logits)


@formula
def copies_of_thread(copies, thread, z):
    near, computed = skip(copies.near, thread * block_length(z)), copies.computed
    return Copies(near, None if computed is None else skip(computed, thread * block_length(z)))


@formula
def _copy_vector(copy, i, given, logit_scale, softcap):
    if copy is not None:
        store(copy, i, transformed(given, logit_scale, softcap))


@inline
def _largest(copy, z, start, n_classes, logit_scale, softcap):
    """The largest logit of the block at `start`, as given; into the copy, if any, go all as computed with."""
    like, stop = wide(z), end_of_block(start, n_classes, z)
    top, full = broadcast(-math.inf, like), full_vectors_end(like, start, stop)
    for j in range(start, full, lanes_of(like)):
        given = load(z, j, like)
        top = maximum(given, top)
        _copy_vector(copy, j - start, given, logit_scale, softcap)
    if full < stop:
        given = load_logits(z, full, first_lanes(stop - full, like), like)
        top = maximum(given, top)
        _copy_vector(copy, full - start, given, logit_scale, softcap)
    return float(reduce_max(top))


@formula
def block_at(copies, z, start, n_classes, options):
    """Where the logits of the block at `start` are, as they are computed with, and the largest as given."""
    top = _largest(copies.computed, z, start, n_classes, options.logit_scale, options.softcap)
    return (Stretch(z, 0) if copies.computed is None else Stretch(copies.computed, start)), top


@inline
def _known_or_found(top, z, start, n_classes):
    # A literal 0 in place of `start` would have Numba compile `_largest` for it alone.
    return top if top == top else _largest(None, z, start, n_classes, None, None)


@formula
def first_block(copies, z, n_classes, top, options):
    """As `block_at` for the row's first block, whose largest logit may be known; NaN if it is not."""
    if copies.computed is None:
        return Stretch(z, 0), _known_or_found(top, z, 0, n_classes)
    return block_at(copies, z, 0, n_classes, options)


@formula
def _unseen(row, start, n_classes, like):
    """Of the block at `start`, or the first of the row ahead, the logits that were not seen on the way."""
    z, block = row.logits, block_length(row.logits)
    if row.ahead is None:
        return z, start, n_classes
    is_ahead, seen = start >= n_classes, full_vectors_end(like, start - block, n_classes) - (start - block)
    return (
        where(is_ahead, row.ahead, z),
        where(is_ahead, seen, start),
        where(is_ahead, min(block, n_classes), n_classes),
    )


@inline
def _largest_after(row, start, n_classes, ahead):
    """From what was found on the way and, of a block that was not all seen, the rest."""
    found = float(reduce_max(ahead))
    if start + block_length(row.logits) > n_classes:
        z, first, stop = _unseen(row, start, n_classes, ahead)
        rest = _largest(None, z, first, stop, None, None)
        # What was found before the row's end has logits of other blocks among it.
        found = found if start >= n_classes and found > rest else rest
    return found


@formula
def block_after(copies, row, start, n_classes, ahead, options):
    """As `block_at`, for the block after one that was summed, on the way through which `ahead` was found.

    After the last it is the first of the row ahead, of which only the largest is known, and not of copies.
    """
    if copies.computed is None:
        return Stretch(row.logits, 0), _largest_after(row, start, n_classes, ahead)
    return block_at(copies, row.logits, start, n_classes, options)


@inline
def near_logits(copy, logits, start, stop, shift):
    """The logits less their offset, which is 0 unless they are large or +inf."""
    if shift.offset == 0.0:
        return logits
    for j in range(start, stop, lanes_of(copy)):
        far = _load_stretch(logits, j, first_lanes(stop - j, copy), copy)
        store(copy, j - start, less_offset(far, shift))
    return Stretch(copy, start, logits.is_padded)


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
    near: Stretch  # less their offset
    shift: Any
    reference: float
    exps: Any
    kept: Any  # for transformed logits


@formula
def _exponentials(block, j, inside, like, options):
    """Those of a vector of classes, 0 for the target, stored if asked; and what it adds to the tally."""
    row, exps, kept, label_smoothing = block.row, block.exps, block.kept, options.label_smoothing
    z = load_logits(row.logits, j, inside, like)
    u = _load_stretch(block.logits, j, inside, like)
    e = exp_or_zero(_load_stretch(block.near, j, inside, like), block.shift.exponent)
    within = inside if block.logits.is_padded is None else None
    if exps is not None:
        store_inside(exps, j, to_keep(e, u, label_smoothing, options.softcap), within)
    if kept is not None:
        store_inside(kept, j, u, within)
    m = mass_at(row, j, inside, label_smoothing, like)
    terms = terms_of(z, row.z_y, u, e, m, block.reference, options.divergence)
    return e if row.target is None else _zero_lane(row.target - j, e, like), terms


@formula
def _added(sums, e, terms, options):
    tally = tallied(sums.tally, terms, options.label_smoothing, options.entropy, options.rank)
    return BlockSums(add(sums.others, e), tally)


@formula
def with_vector(sums, block, j, inside, like, options):
    """The sums, and those of a vector of classes."""
    e, terms = _exponentials(block, j, inside, like, options)
    return _added(sums, e, terms, options)


@formula
def ask_ahead(row, j, like):
    far = j + AHEAD * lanes_of(row.logits)
    prefetch(row.logits, far, like)
    if row.soft_targets is not None:
        prefetch(row.soft_targets, far, like)


@formula
def _next_block(start, row):
    """Where it starts, or as many classes do that end the row; after the last, where the row ahead does."""
    block = block_length(row.logits)
    later = skip(row.logits, max(0, min(start + block, row.n_classes - block)))
    return later if row.ahead is None else where(start + block >= row.n_classes, row.ahead, later)


@formula
def _max_ahead(there, j, ahead, computed):
    """Copies of the logits are made a block at a time, and their largest found then."""
    return ahead if computed is not None else maximum(load(there, j, ahead), ahead)


class Meanwhile(NamedTuple):
    """What else is done on the way through a block, as far from its start as the vector is that is summed."""

    start: int
    there: Any  # where the block after it is, whose largest logits are found
    computed: Any  # unless copies are made of them, then
    before: Any  # the row that is finished
    inner: Any


@formula
def _do_meanwhile(meanwhile, j, ahead, options):
    finish_inner(meanwhile.before, meanwhile.inner, j, options)
    return _max_ahead(meanwhile.there, j - meanwhile.start, ahead, meanwhile.computed)


@inline
def _sum_at_once(sums, block, full, meanwhile, ahead, options):
    unsummed = broadcast(0.0, ahead)  # of the vector before, for which nothing need wait
    for j in range(meanwhile.start, full, lanes_of(ahead)):
        ahead = _do_meanwhile(meanwhile, j, ahead, options)
        ask_ahead(block.row, j, ahead)
        e, terms = _exponentials(block, j, None, ahead, options)
        sums = _added(sums, unsummed, terms, options)
        unsummed = e
    return BlockSums(add(sums.others, unsummed), sums.tally), ahead


@inline
def _sum_in_turn(sums, block, full, meanwhile, ahead, options):
    for j in range(meanwhile.start, full, lanes_of(ahead)):
        ahead = _do_meanwhile(meanwhile, j, ahead, options)
    for j in range(meanwhile.start, full, lanes_of(ahead)):
        ask_ahead(block.row, j, ahead)
        sums = with_vector(sums, block, j, None, ahead, options)
    return sums, ahead


@specialised_formula
def _sum_vectors(sums, block, full, meanwhile, ahead, options):
    """The whole vectors of a block: one loop, or two where there are too few registers for one."""
    return _sum_at_once if has_long_registers() else _sum_in_turn


@inline
def sum_block(row, logits, start, shift, reference, exps, memory, before, inner, options):
    """The lanes' sums over a block, and the largest logits ahead if there are no copies of them.

    On the way the inner vectors of the same block of the row before are finished.
    """
    z, stop, computed = row.logits, end_of_block(start, row.n_classes, row.logits), memory.copies.computed
    like = wide_like(z, options.label_smoothing, options.entropy)
    full = full_vectors_end(like, start, stop)
    near = near_logits(memory.copies.near, logits, start, stop, shift)
    block = Block(row, logits, near, shift, reference, exps, memory.kept)
    meanwhile = Meanwhile(start, _next_block(start, row), computed, before, inner)
    sums, ahead = BlockSums(empty_sum(z), empty_tally(z)), broadcast(-math.inf, like)
    sums, ahead = _sum_vectors(sums, block, full, meanwhile, ahead, options)
    tail = tail_like(like, z, options.label_smoothing, options.entropy)
    for j in range(full, stop, lanes_of(tail)):
        sums = with_vector(sums, block, j, first_lanes(stop - j, tail), tail, options)
    return sums, ahead
