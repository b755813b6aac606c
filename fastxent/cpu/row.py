"""One row, its classes across the lanes: the walk that every kernel for many classes is made of.

A row is read from memory once. It is taken in blocks that stay in the first-level cache; while the
exponentials of one block are computed, the maximum of the next is found in the same loop, so the shift
of a block is known before its first exponential and none is ever computed twice. Exponentials are
stored under the shift of their block; whoever finishes the row brings them to that of the row.
"""

from typing import Any, NamedTuple

from ..simd import (
    broadcast,
    empty_float64,
    first_lanes,
    lanes_of,
    load,
    load_masked,
    put,
    reduce_max,
    reduce_sum,
    store,
    store_masked,
    wide,
)
from .compile import formula, inline
from .derivatives import parts, scaled
from .exact_sum import value_of
from .options import transformed
from .row_block import (
    BLOCK,
    BlockSums,
    Copies,
    copies_for,
    copies_in_memory,
    first_stretch,
    max_of,
    stretch_after,
    sum_block,
)
from .shape import n_classes_of
from .shift import Shift, ratio, shift_for, shifted_exp
from .strided import address
from .tally import Tally, plus_lanes, reference_for, with_reference
from .vectors import full_vectors_end


class Row(NamedTuple):
    """What is read of one row, and where it is written; as addresses, of which the last three may be None."""

    logits: Any
    n_classes: int
    target: int  # NO_CLASS if there is none, with NaN for its logit
    z_y: float
    u_y: float  # transformed
    soft_targets: Any
    weight: Any
    out: Any


class RowSums(NamedTuple):
    others: float  # of the shifted exponentials of all classes but the target
    shift: Shift
    top: float  # the largest transformed logit
    tally: Tally


class Memory(NamedTuple):
    """Working memory for the walk over a row."""

    shifts: Any  # of each block
    copies: Copies


@formula
def memory_for(logits, options):
    block = BLOCK * lanes_of(logits)
    shifts = empty_float64((n_classes_of(logits) + block - 1) // block * 2)
    return Memory(shifts, copies_for(logits, options))


@formula
def in_memory(memory):
    """The addresses."""
    return Memory(address(memory.shifts), copies_in_memory(memory.copies))


@formula
def transformed_scalar(number, z, logit_scale, softcap):
    """As the lanes of z's dtype have it."""
    return float(reduce_max(transformed(broadcast(number, z), logit_scale, softcap)))


@inline
def _under_new_shift(sums, row, start, old, shift, step, options):
    """One row's sums up to `start`, brought to another shift, and to a reference larger by `step`."""
    rescale = 1.0 if old == shift else ratio(old, shift)
    exps = sums.others + (shifted_exp(row.u_y, old) if 0 <= row.target < start else 0.0)
    tally = with_reference(sums.tally, step, exps, rescale, options.label_smoothing, options.entropy)
    return BlockSums(sums.others * rescale, tally)


@inline
def sum_exp(row, exps, kept, memory, options):
    """The sums over one row.

    With `exps`, which may be the logits, every exponential is stored there, and the shift of each block
    in the memory; with `kept`, every transformed logit is stored there.
    """
    z, n_classes = row.logits, row.n_classes
    block = BLOCK * lanes_of(z)
    logits = first_stretch(memory.copies, z, min(block, n_classes))
    row_max = max_of(logits.start, min(block, n_classes))
    top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
    shift, reference = shift_for(top, z), reference_for(top, z)
    total = BlockSums(0.0, Tally(0.0, 0.0, 0.0, 0.0))
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        old, old_reference = shift, reference
        top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
        shift, reference = shift_for(top, z), reference_for(top, z)
        total = _under_new_shift(total, row, start, old, shift, reference - old_reference, options)
        put(memory.shifts, 2 * (start // block), shift.offset)
        put(memory.shifts, 2 * (start // block) + 1, shift.exponent)
        upcoming = stretch_after(memory.copies, start, row)
        sums, ahead = sum_block(
            row,
            logits,
            upcoming,
            start,
            stop,
            shift,
            reference,
            row_max,
            exps,
            kept,
            memory.copies,
            options,
        )
        logits = upcoming
        tally = plus_lanes(total.tally, sums.tally, options.label_smoothing, options.entropy, options.rank)
        total = BlockSums(total.others + reduce_sum(value_of(sums.others)), tally)
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
    block, like = BLOCK * lanes_of(exps), wide(exps)
    for start in range(0, n_classes, block):
        stop = min(start + block, n_classes)
        full = full_vectors_end(like, start, stop)
        block_factor = factor * ratio_of_block(shifts, start // block, shift)
        factor_parts = parts(block_factor, exps)
        for j in range(start, full, lanes_of(like)):
            store(out, j, scaled(load(exps, j, like), factor_parts))
        if full < stop:
            inside = first_lanes(stop - full, like)
            store_masked(out, full, scaled(load_masked(exps, full, inside, 0.0), factor_parts), inside)
