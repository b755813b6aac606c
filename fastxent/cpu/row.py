"""One row, its classes across the lanes: the walk that every kernel for many classes is made of.

A row is read from memory once. It is taken in blocks that stay in the first-level cache; while the
exponentials of one block are computed, the maximum of the next is found in the same loop, so the shift
of a block is known before its first exponential and none is ever computed twice. Exponentials are
stored under the shift of their block; whoever finishes the row brings them to that of the row.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    arithmetic_type,
    broadcast,
    empty_float64,
    empty_row,
    exp_or_zero,
    first_lanes,
    fma,
    lanes_of,
    load,
    load_masked,
    maximum,
    only_lane,
    prefetch,
    put,
    reduce_max,
    reduce_sum,
    store,
    store_masked,
    where,
    wide,
)
from .compile import formula, inline, or_none, specialised_formula
from .derivatives import parts, scaled, to_keep
from .exact_sum import add, empty_sum, value_of
from .options import transformed
from .shape import n_classes_of
from .shift import Shift, less_offset, ratio, shift_for, shifted_exp
from .strided import address
from .tally import (
    Tally,
    empty_tally,
    plus_lanes,
    reference_for,
    tallied,
    terms_of,
    with_reference,
)
from .vectors import full_vectors_end, load_logits, store_inside, value_at

BLOCK = 128
"""Vectors in a block: 8 KiB of float32 or float64."""

AHEAD = 128
"""Vectors from one that is read to one that is asked for, which memory takes that long to send."""

CHUNK = 16384
"""Elements, in whole rows, that one thread takes at a time and that share its working memory."""


class Row(NamedTuple):
    """What is read of one row, as addresses; soft_targets and weight may be None."""

    logits: Any
    n_classes: int
    target: int  # NO_CLASS if there is none, with NaN for its logit
    z_y: float
    u_y: float  # transformed
    soft_targets: Any
    weight: Any


class RowSums(NamedTuple):
    others: float  # of the shifted exponentials of all classes but the target
    shift: Shift
    top: float  # the largest transformed logit
    tally: Tally


@formula
def rows_in_chunk(n_classes):
    return max(1, CHUNK // max(1, n_classes))


@formula
def rows_of_chunk(chunk, step, n_rows):
    """The first, and that after the last; of an index of prange, which is unsigned."""
    start = int(chunk) * step
    return start, min(start + step, n_rows)


class Memory(NamedTuple):
    """Working memory for the walk over a row."""

    shifts: Any  # of each block
    near: Any  # for logits of one block less their offset; None where they are kept in registers


@formula
def memory_for(logits, options):
    block = BLOCK * lanes_of(logits)
    shifts = empty_float64((n_classes_of(logits) + block - 1) // block * 2)
    return Memory(shifts, _near_memory(options.logit_scale, options.softcap, logits))


@specialised_formula
def _near_memory(logit_scale, softcap, logits):
    if logit_scale is softcap is None and arithmetic_type(logits.dtype) == logits.dtype:
        return lambda logit_scale, softcap, logits: empty_row(BLOCK * lanes_of(logits), logits)
    return lambda logit_scale, softcap, logits: None


@formula
def in_memory(memory):
    """The addresses."""
    return Memory(address(memory.shifts), address(memory.near))


@formula
def transformed_scalar(number, z, logit_scale, softcap):
    """As the lanes of z's dtype have it."""
    return float(reduce_max(transformed(broadcast(number, z), logit_scale, softcap)))


@inline
def max_of(z, stop):
    top = broadcast(-math.inf, z)
    full = full_vectors_end(z, 0, stop)
    for j in range(0, full, lanes_of(z)):
        top = maximum(load(z, j), top)
    if full < stop:
        top = maximum(load_masked(z, full, first_lanes(stop - full, z), -math.inf), top)
    return float(reduce_max(top))


@formula
def class_mass(t, w, n_classes, label_smoothing):
    """m = w·((1 − label_smoothing)·t + label_smoothing/n_classes), with t = 0 for integer targets."""
    return w * fma(t, 1.0 - label_smoothing, label_smoothing / n_classes)


@formula
def mass_at(row, j, inside, label_smoothing, z):
    """m_j of a vector of classes, 0 where not inside."""
    m = broadcast(0.0, z)
    if label_smoothing is not None:
        t = value_at(row.soft_targets, 0.0, j, inside, z)
        w = value_at(row.weight, 1.0, j, inside, z)
        m = class_mass(t, w, row.n_classes, label_smoothing)
        if inside is not None:
            m = where(inside, m, 0.0)
    return m


@formula
def target_mass(w_y, n_classes, label_smoothing):
    """m of an integer target's class, whose hard term is apart."""
    m_y = 0.0 * w_y
    if label_smoothing is not None:
        m_y = w_y * (label_smoothing / n_classes)
    return m_y


class _Sums(NamedTuple):
    others: Any
    tally: Tally


class _Near(NamedTuple):
    """Where the logits of a block less its offset are: logit j at j − origin."""

    start: Any
    origin: int


@or_none
def _near(scratch, z, start, stop, shift):
    """They are the logits themselves if the offset is 0, which it is unless they are large or +inf."""
    if shift.offset == 0.0:
        return _Near(z, 0)
    for j in range(start, stop, lanes_of(z)):
        far = load_logits(z, j, first_lanes(stop - j, z), z)
        store(scratch, j - start, less_offset(far, shift))
    return _Near(scratch, start)


@inline
def _without_target(e, lane, z):
    """The exponentials of a vector, 0 in the target's lane if that is in it."""
    if 0 <= lane < lanes_of(z):
        e = where(only_lane(lane, z), 0.0, e)
    return e


@formula
def _exponentials(row, near, j, inside, like, shift, reference, exps, kept, options):
    """Those of a vector of classes, 0 for the target, stored if asked; and what it adds to the tally."""
    z = load_logits(row.logits, j, inside, like)
    u = transformed(z, options.logit_scale, options.softcap)
    if near is None:
        x = less_offset(u, shift) if options.softcap is None else u - shift.offset  # which is finite
    else:
        x = load_logits(near.start, j - near.origin, inside, like)
    e = exp_or_zero(x, shift.exponent)
    if exps is not None:
        store_inside(exps, j, to_keep(e, u, options.label_smoothing, options.softcap), inside)
    if kept is not None:
        store_inside(kept, j, u, inside)
    m = mass_at(row, j, inside, options.label_smoothing, like)
    terms = terms_of(z, row.z_y, u, e, m, reference, options.divergence)
    return _without_target(e, row.target - j, like), terms


@formula
def _added(sums, e, terms, options):
    tally = tallied(sums.tally, terms, options.label_smoothing, options.entropy, options.rank)
    return _Sums(add(sums.others, e), tally)


@inline
def _under_new_shift(sums, row, start, old, shift, step, options):
    """One row's sums up to `start`, brought to another shift, and to a reference larger by `step`."""
    rescale = 1.0 if old == shift else ratio(old, shift)
    exps = sums.others + (shifted_exp(row.u_y, old) if 0 <= row.target < start else 0.0)
    tally = with_reference(sums.tally, step, exps, rescale, options.label_smoothing, options.entropy)
    return _Sums(sums.others * rescale, tally)


@inline
def _sum_block(row, start, stop, shift, reference, row_max, exps, kept, memory, options):
    """The lanes' sums over a block, and the largest logit up to the end of the next."""
    z, like = row.logits, wide(row.logits)
    lanes, block, far = lanes_of(like), BLOCK * lanes_of(z), AHEAD * lanes_of(z)
    near = _near(memory.near, z, start, stop, shift)
    sums, ahead = _Sums(empty_sum(like), empty_tally(z, like)), broadcast(row_max, like)
    # Near the end of the row the next block is one that ends there: a maximum does not mind.
    step = max(0, min(start + block, row.n_classes - block)) - start
    full = full_vectors_end(like, start, stop)
    for j in range(start, full, lanes):
        prefetch(z, j + far, like)
        ahead = maximum(load(z, j + step, like), ahead)
        e, terms = _exponentials(row, near, j, None, like, shift, reference, exps, kept, options)
        sums = _added(sums, e, terms, options)
    if full < stop:
        inside = first_lanes(stop - full, like)
        e, terms = _exponentials(row, near, full, inside, like, shift, reference, exps, kept, options)
        sums = _added(sums, e, terms, options)
    return sums, ahead


@inline
def sum_exp(row, exps, kept, memory, options):
    """The sums over one row.

    With `exps`, which may be the logits, every exponential is stored there, and the shift of each block
    in the memory; with `kept`, every transformed logit is stored there.
    """
    z, n_classes = row.logits, row.n_classes
    block = BLOCK * lanes_of(z)
    row_max = max_of(z, min(block, n_classes))
    top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
    shift, reference = shift_for(top, z), reference_for(top, z)
    total = _Sums(0.0, Tally(0.0, 0.0, 0.0, 0.0))
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        old, old_reference = shift, reference
        top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
        shift, reference = shift_for(top, z), reference_for(top, z)
        total = _under_new_shift(total, row, start, old, shift, reference - old_reference, options)
        put(memory.shifts, 2 * (start // block), shift.offset)
        put(memory.shifts, 2 * (start // block) + 1, shift.exponent)
        sums, ahead = _sum_block(row, start, stop, shift, reference, row_max, exps, kept, memory, options)
        tally = plus_lanes(total.tally, sums.tally, options.label_smoothing, options.entropy, options.rank)
        total = _Sums(total.others + reduce_sum(value_of(sums.others)), tally)
        if stop < n_classes:
            row_max = float(reduce_max(ahead))
    return RowSums(total.others, shift, top, total.tally)


@inline
def ratio_of_block(shifts, block, shift):
    """What brings the exponentials of a block to the shift of the row."""
    block_shift = Shift(shifts[2 * block], shifts[2 * block + 1])
    return 1.0 if block_shift == shift else ratio(block_shift, shift)


@inline
def scale_row(exps, n_classes, factor, shifts, shift, out):
    """out = exps·factor, after bringing each block from its own shift to that of the row."""
    block = BLOCK * lanes_of(exps)
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        full = full_vectors_end(exps, start, stop)
        block_factor = factor * ratio_of_block(shifts, start // block, shift)
        factor_parts = parts(block_factor, exps)
        for j in range(start, full, lanes_of(exps)):
            store(out, j, scaled(load(exps, j), factor_parts))
        if full < stop:
            inside = first_lanes(stop - full, exps)
            store_masked(out, full, scaled(load_masked(exps, full, inside, 0.0), factor_parts), inside)
