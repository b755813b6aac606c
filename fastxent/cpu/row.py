"""One row, its classes across the lanes: the walk that every kernel for many classes is made of.

A row is read from memory once. It is taken in blocks that stay in the first-level cache; while the
exponentials of one block are computed, the maximum of the next is found in the same loop, so the shift
of a block is known before its first exponential and none is ever computed twice. Exponentials are
stored under the shift of their block; whoever finishes the row brings them to that of the row.
"""

import math
from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    first_lanes,
    fma,
    lanes_of,
    load,
    load_masked,
    maximum,
    only_lane,
    put,
    reduce_max,
    reduce_sum,
    store,
    store_masked,
    where,
)
from .compile import formula, inline
from .derivatives import parts, scaled, to_keep
from .exact_sum import add, empty_sum, value_of
from .options import transformed
from .shape import n_classes_of
from .shift import Shift, ratio, shift_for, shifted_exp
from .tally import Tally, empty_tally, plus_lanes, reference_for, tallied, with_reference

BLOCK = 64
"""Vectors in a block: 4 KiB of float32 or float64."""

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


@formula
def n_blocks(logits):
    block = BLOCK * lanes_of(logits)
    return (n_classes_of(logits) + block - 1) // block


@formula
def full_vectors_end(z, start, stop):
    return stop - (stop - start) % lanes_of(z)


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
def load_inside(p, j, inside, z):
    """Vector j of p in the lanes of z, 0 where not inside; inside is None for a full vector."""
    return load(p, j, z) if inside is None else load_masked(p, j, inside, 0.0, z)


@formula
def store_inside(p, j, vector, inside):
    if inside is None:
        store(p, j, vector)
    else:
        store_masked(p, j, vector, inside)


@formula
def class_mass(t, w, n_classes, label_smoothing):
    """m = w·((1 − label_smoothing)·t + label_smoothing/n_classes), with t = 0 for integer targets."""
    return w * fma(t, 1.0 - label_smoothing, label_smoothing / n_classes)


@formula
def value_at(p, otherwise, j, inside, z):
    """Vector j of p, if there is one, in the lanes of z."""
    value = broadcast(otherwise, z)
    if p is not None:
        value = load_inside(p, j, inside, z)
    return value


@formula
def mass_at(row, j, inside, label_smoothing):
    """m_j of a vector of classes, 0 where not inside."""
    m = broadcast(0.0, row.logits)
    if label_smoothing is not None:
        t = value_at(row.soft_targets, 0.0, j, inside, row.logits)
        w = value_at(row.weight, 1.0, j, inside, row.logits)
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


@inline
def _without_target(e, lane, z):
    """The exponentials of a vector, 0 in the target's lane if that is in it."""
    if 0 <= lane < lanes_of(z):
        e = where(only_lane(lane, z), 0.0, e)
    return e


@formula
def _with_vector(sums, row, z, j, inside, shift, reference, exps, kept, options):
    """One vector of classes: summed, and its exponentials and transformed logits stored if asked."""
    u = transformed(z, options.logit_scale, options.softcap)
    e = shifted_exp(u, shift)
    if exps is not None:
        store_inside(exps, j, to_keep(e, u, options.label_smoothing, options.softcap), inside)
    if kept is not None:
        store_inside(kept, j, u, inside)
    m = mass_at(row, j, inside, options.label_smoothing)
    tally = tallied(
        sums.tally,
        z,
        row.z_y,
        u,
        e,
        m,
        reference,
        options.label_smoothing,
        options.entropy,
        options.rank,
        options.divergence,
    )
    return _Sums(add(sums.others, _without_target(e, row.target - j, row.logits)), tally)


@inline
def _under_new_shift(sums, row, start, old, shift, step, options):
    """One row's sums up to `start`, brought to another shift, and to a reference larger by `step`."""
    rescale = 1.0 if old == shift else ratio(old, shift)
    exps = sums.others + (shifted_exp(row.u_y, old) if 0 <= row.target < start else 0.0)
    tally = with_reference(sums.tally, step, exps, rescale, options.label_smoothing, options.entropy)
    return _Sums(sums.others * rescale, tally)


@inline
def sum_exp(row, exps, kept, shifts, options):
    """The sums over one row.

    With `exps`, which may be the logits, every exponential is stored there, and the shift of each block
    in `shifts`; with `kept`, every transformed logit is stored there.
    """
    z, n_classes = row.logits, row.n_classes
    lanes = lanes_of(z)
    block = BLOCK * lanes
    row_max = max_of(z, min(block, n_classes))
    top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
    shift, reference = shift_for(top, z), reference_for(top, z)
    total = _Sums(0.0, Tally(0.0, 0.0, 0.0, 0.0))
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        full = full_vectors_end(z, start, stop)
        old, old_reference = shift, reference
        top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
        shift, reference = shift_for(top, z), reference_for(top, z)
        total = _under_new_shift(total, row, start, old, shift, reference - old_reference, options)
        if exps is not None:
            put(shifts, 2 * (start // block), shift.offset)
            put(shifts, 2 * (start // block) + 1, shift.exponent)
        sums = _Sums(empty_sum(z), empty_tally(z))
        ahead = broadcast(row_max, z)
        for j in range(start, full, lanes):
            vector = load(z, j)
            # Past the row's last full vector that one is looked at again: a maximum does not mind.
            ahead = maximum(load(z, min(j + block, n_classes - lanes)), ahead)
            sums = _with_vector(sums, row, vector, j, None, shift, reference, exps, kept, options)
        if full < stop:
            inside = first_lanes(stop - full, z)
            vector = load_masked(z, full, inside, -math.inf)
            sums = _with_vector(sums, row, vector, full, inside, shift, reference, exps, kept, options)
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
