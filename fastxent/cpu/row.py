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
    put,
    reduce_max,
    reduce_sum,
    skip,
    where,
)
from .compile import formula, inline
from .exact_sum import value_of
from .finish import finish_edges, finish_target, place_of_shift
from .options import transformed
from .row_block import (
    BlockSums,
    Copies,
    copies_for,
    copies_in_memory,
    first_stretch,
    max_of,
    stretch_after,
    sum_block,
)
from .shape import block_length, end_of_block, n_classes_of, number_of_blocks
from .shift import Shift, ratio_of_scalars, shift_for, shifted_exp
from .strided import address, scratch_exps, scratch_kept
from .tally import Tally, plus_lanes, reference_for, with_reference


class Row(NamedTuple):
    """What is read of one row; as addresses, of which the last two may be None."""

    logits: Any
    n_classes: int
    target: Any  # None if there is none, with NaN for its logit
    z_y: float
    u_y: float  # transformed
    soft_targets: Any
    weight: Any


class RowSums(NamedTuple):
    others: float  # of the shifted exponentials of all classes but the target
    shift: Shift
    top: float  # the largest transformed logit
    tally: Tally


class Memory(NamedTuple):
    """Working memory for the walk over a row."""

    shifts: Any  # of each block
    copies: Copies
    exps: Any  # for exponentials that are not stored where the derivatives go; may be None, as may kept
    kept: Any  # for transformed logits


@formula
def memory_for(logits, out, n_rows, options):
    """For so many unfinished rows; if `out` is not None, for derivatives that go there."""
    n_classes = n_classes_of(logits)
    shifts = empty_float64(n_rows * 2 * number_of_blocks(n_classes, logits))
    exps, kept = scratch_exps(logits, out, n_rows), scratch_kept(out, n_rows * n_classes, options)
    return Memory(shifts, copies_for(logits, options), exps, kept)


@formula
def memory_of_row(memory, slot, n_classes, z):
    """What one of the rows has of it."""
    exps = None if memory.exps is None else skip(memory.exps, slot * n_classes)
    kept = None if memory.kept is None else skip(memory.kept, slot * n_classes)
    return Memory(skip(memory.shifts, slot * 2 * number_of_blocks(n_classes, z)), memory.copies, exps, kept)


@formula
def in_memory(memory):
    """The addresses."""
    return Memory(
        address(memory.shifts), copies_in_memory(memory.copies), address(memory.exps), address(memory.kept)
    )


@formula
def transformed_scalar(number, z, logit_scale, softcap):
    """As the lanes of z's dtype have it."""
    return float(reduce_max(transformed(broadcast(number, z), logit_scale, softcap)))


@formula
def _target_exp(target, row, start, shift):
    """Of the target's class if it is before `start`, 0 otherwise."""
    return 0.0 if target is None else where(target < start, shifted_exp(row.u_y, shift), 0.0)


@formula
def _under_new_shift(sums, row, start, old, shift, step, options):
    """One row's sums up to `start`, brought to another shift, and to a reference larger by `step`."""
    rescale = ratio_of_scalars(old, shift)
    exps = sums.others + _target_exp(row.target, row, start, old)
    tally = with_reference(sums.tally, step, exps, rescale, options.label_smoothing, options.entropy)
    return BlockSums(sums.others * rescale, tally)


@inline
def sum_exp(row, exps, memory, before, options):
    """The sums over one row, while the row before is finished, if it is not None.

    With `exps`, which may be the logits, every exponential is stored there, and the shift of each block
    in the memory; as is every transformed logit if there is memory for them.
    """
    z, n_classes = row.logits, row.n_classes
    stop = end_of_block(0, n_classes, z)
    logits, row_max = first_stretch(memory.copies, z, stop, options), max_of(z, stop)
    top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
    shift, reference = shift_for(top, z), reference_for(top, z)
    total = BlockSums(0.0, Tally(0.0, 0.0, 0.0, 0.0))
    for start in range(0, n_classes, block_length(z)):
        stop = end_of_block(start, n_classes, z)
        old, old_reference = shift, reference
        top = transformed_scalar(row_max, z, options.logit_scale, options.softcap)
        shift, reference = shift_for(top, z), reference_for(top, z)
        total = _under_new_shift(total, row, start, old, shift, reference - old_reference, options)
        inner = finish_edges(before, start, options)
        put(memory.shifts, place_of_shift(start, z), shift.offset)
        put(memory.shifts, place_of_shift(start, z) + 1, shift.exponent)
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
            memory,
            before,
            inner,
            options,
        )
        logits = upcoming
        tally = plus_lanes(total.tally, sums.tally, options.label_smoothing, options.entropy, options.rank)
        total = BlockSums(total.others + reduce_sum(value_of(sums.others)), tally)
        if stop < n_classes:
            row_max = float(reduce_max(ahead))
    finish_target(before, options)
    return RowSums(total.others, shift, top, total.tally)
