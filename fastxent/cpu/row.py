"""One row, its classes across the lanes: the walk that every kernel for many classes is made of.

A row is read from memory once. It is taken in blocks that stay in the first-level cache; while the
exponentials of one block are computed, the maximum of the next is found in the same loop, or else when its
logits are copied, so the shift of a block is known before its first exponential and none is ever computed
twice. Nothing else of one block is needed for another. In place of a block after the last, the maximum
of the first block of a later row is found. Exponentials are stored under the shift of their block; whoever
finishes the row brings them to that of the row.
"""

from typing import Any, NamedTuple

from numba import types

from ..simd import arithmetic_type, broadcast, empty_float64, empty_row, put, reduce_max, reduce_sum, skip
from .block_logits import block_after, first_block, largest_other
from .compile import formula, inline, specialised_formula
from .exact_sum import bias_for, value_of
from .finish import finish_edges, finish_target, place_of_shift
from .options import transformed
from .row_block import sum_block
from .shape import block_length, end_of_block, n_classes_of, number_of_blocks
from .shift import shift_for
from .strided import scratch_computed, scratch_exps, scratch_transformed, skip_or_none
from .sums import Sums, plus_block
from .tally import Tally, over_lanes, reference_for


class Row(NamedTuple):
    """What is read of one row; as addresses, of which the last three may be None."""

    logits: Any
    n_classes: int
    target: Any  # None if there is none, with NaN for its logit
    z_y: float
    u_y: float  # transformed
    soft_targets: Any
    weight: Any
    ahead: Any  # logits of a later row, to find the largest of its first block


class Memory(NamedTuple):
    """Working memory for the walk over a row, of which the last three may be None.

    Numba hands a named tuple on to threads only if it is flat, and made in the kernel itself by its class.
    """

    shifts: Any  # of each block
    centred: Any  # logits of a block, less their offset
    computed: Any  # and as they are computed with, if that is not as given
    exps: Any  # for exponentials that are not stored where the derivatives go
    transformed: Any  # logits, for the derivatives


@formula
def memory_for(logits, out, n_rows, n_threads, options):
    """For so many unfinished rows and threads; if `out` is not None, for derivatives that go there."""
    n_classes, blocks = n_classes_of(logits), n_threads * block_length(logits)
    return Memory(
        empty_float64(n_rows * 2 * number_of_blocks(n_classes, logits)),
        empty_row(blocks, logits),
        scratch_computed(logits, blocks, options),
        scratch_exps(logits, out, n_rows),
        scratch_transformed(out, n_rows * n_classes, options),
    )


@formula
def memory_of_row(memory, slot, n_classes, z):
    """What one of the rows has of it."""
    return memory._replace(
        shifts=skip(memory.shifts, slot * 2 * number_of_blocks(n_classes, z)),
        exps=skip_or_none(memory.exps, slot * n_classes),
        transformed=skip_or_none(memory.transformed, slot * n_classes),
    )


@formula
def memory_of_thread(memory, thread, z):
    """What one of the threads that share a row has of it."""
    at = thread * block_length(z)
    return memory._replace(centred=skip(memory.centred, at), computed=skip_or_none(memory.computed, at))


@formula
def transformed_scalar(number, z, options):
    """As the lanes of z's dtype have it."""
    return float(reduce_max(transformed(broadcast(number, z), options)))


@formula
def _empty_sums(row, block_max, options):
    top = transformed_scalar(block_max, row.logits, options)
    return Sums(0.0, shift_for(top, row.logits), top, Tally(0.0, 0.0, 0.0, 0.0))


@specialised_formula
def _bias_in_lanes(largest, shift, targets, grad, options, z):
    """From one float64 if lanes are that: a vector's constants would take registers that the sums want."""

    def from_one(largest, shift, targets, grad, options, z):
        return broadcast(bias_for(largest, shift, targets, grad, options), z)

    def from_vector(largest, shift, targets, grad, options, z):
        return bias_for(broadcast(largest, z), shift, targets, grad, options)

    return from_one if arithmetic_type(z.dtype) == types.float64 else from_vector


@formula
def _bias(row, start, block_max, shift, exps, options):
    """Of the exponentials that are summed, which the target's is not."""
    largest, z = block_max, row.logits
    if row.target is not None:
        stop = end_of_block(start, row.n_classes, z)
        largest = largest_other(z, row.target, row.z_y, start, stop, block_max)
    largest = transformed_scalar(largest, z, options)
    return _bias_in_lanes(largest, shift, row.target, exps, options, z)


@formula
def sums_of_block(row, logits, start, block_max, exps, memory, before, options):
    """Those of the block at `start`, whose largest logit is known; and the next's largest, lane by lane."""
    z = row.logits
    _, shift, top, _ = _empty_sums(row, block_max, options)
    bias = _bias(row, start, block_max, shift, exps, options)
    inner = finish_edges(before, start, options)
    put(memory.shifts, place_of_shift(start, z), shift.offset)
    put(memory.shifts, place_of_shift(start, z) + 1, shift.exponent)
    sums, ahead = sum_block(
        row, logits, start, shift, bias, reference_for(top, z), exps, memory, before, inner, options
    )
    tally = over_lanes(sums.tally, options)
    return Sums(reduce_sum(value_of(sums.others)), shift, top, tally), ahead


@inline
def sum_row(row, first_max, exps, memory, before, options):
    """The sums over one row, while the row before is finished, if it is not None.

    With `exps`, which may be the logits, every exponential is stored there, and the shift of each block
    in the memory; as is every transformed logit if there is memory for them. `first_max` is the largest
    logit of the first block, or NaN if it is not known; what comes with the sums is that of the row ahead,
    if any.
    """
    z, n_classes = row.logits, row.n_classes
    logits, block_max = first_block(memory.computed, z, n_classes, first_max, options)
    sums = _empty_sums(row, block_max, options)
    for start in range(0, n_classes, block_length(z)):
        block, ahead = sums_of_block(row, logits, start, block_max, exps, memory, before, options)
        stop, following = end_of_block(start, n_classes, z), start + block_length(z)
        sums = plus_block(sums, block, start, stop, row.target, row.u_y, z, options)
        logits, block_max = block_after(memory.computed, row, following, n_classes, ahead, options)
    finish_target(before, options)
    return sums, block_max
