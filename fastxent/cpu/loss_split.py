"""Cross-entropy of a few rows with many classes: threads share out the classes of each row."""

import math

from numba import prange

from ..simd import empty_float64, fence, flush_subnormals, restore_subnormals
from .compile import formula, inline, kernel
from .finish import finish_classes, finish_target
from .loss_row import (
    NOT_PACKED,
    Arrays,
    derivatives_at,
    exps_at,
    logit_of_target,
    places_at,
    row_sums,
    row_to_sum,
    set_derivatives_to_zero,
    unfinished_in,
)
from .options import in_addresses
from .parts import memory_for_sums, part_of_thread, sum_of_parts, sum_part
from .row import Memory, memory_for, memory_of_thread
from .row_lanes import row_outputs
from .shape import n_classes_of, n_rows_of
from .slots import Slots, empty_slots, put_nothing, put_summed, solve
from .strided import address, addresses, row_at
from .targets import is_read, sample_weight_of, survey, target_of
from .total import flatten_mean_of_no_weight, mean_of


@formula
def _places(logits, grad, options, i):
    arrays = Arrays(logits, options.soft_targets, grad, options.hess, options.targets_grad)
    return places_at(arrays, i, NOT_PACKED, 0)


@formula
def _row(places, targets, i, z_y, options):
    return row_to_sum(places, target_of(targets, i), z_y, None, in_addresses(options))


@formula
def sum_part_of_row(thread, n_threads, logits, targets, i, z_y, options, grad, memory, block_sums):
    places = _places(logits, grad, options, i)
    memory = memory_of_thread(addresses(memory), thread, places.logits.start)
    row, exps = _row(places, targets, i, z_y, options), exps_at(derivatives_at(places), memory)
    control = flush_subnormals()
    sum_part(thread, n_threads, row, exps, memory, address(block_sums), in_addresses(options))
    restore_subnormals(control)


@inline
def solve_row(logits, targets, is_kept, i, z_y, options, loss, lse, lse_low, grad, block_sums, slots):
    """Puts the row's sums in the first slot, and what comes of them in its outputs."""
    control = flush_subnormals()
    if is_kept:
        row = _row(_places(logits, None, options, i), targets, i, z_y, options)
        sums = sum_of_parts(row, address(block_sums), in_addresses(options))
        s = sample_weight_of(options.sample_weight, i)
        put_summed(addresses(slots), 0, s, row_sums(row, sums, in_addresses(options)))
    else:
        put_nothing(addresses(slots), 0)
    outputs = row_outputs(loss, lse, lse_low, options)
    n_classes, addressed = n_classes_of(logits), in_addresses(options)
    solve(addresses(slots), i, i + 1, address(targets), n_classes, outputs, grad, addressed)
    restore_subnormals(control)


@formula
def _is_among(y, first, last):
    return False if y is None else (first <= y) & (y < last)


@inline
def finish_part(thread, n_threads, logits, targets, i, scale, options, grad, memory, slots):
    places, y = _places(logits, grad, options, i), target_of(targets, i)
    first, last = part_of_thread(thread, n_threads, places.logits.start, n_classes_of(logits))
    addressed = in_addresses(options)
    unfinished = unfinished_in(addresses(slots), 0, places, y, addresses(memory), scale, addressed)
    control = flush_subnormals()
    finish_classes(unfinished, first, last, addressed)
    if _is_among(y, first, last):
        finish_target(unfinished, addressed)
    restore_subnormals(control)
    fence()


@kernel("loss", "lse", "grad", "rank", "entropy", "hess", "targets_grad")
def cross_entropy_split(n_threads, logits, targets, ignore_index, divisor, options, loss, lse, grad):
    """As `cross_entropy_rows`, to the bit, for arrays whose classes all lie side by side."""
    divisor, scale, bad = survey(logits, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    n_rows = n_rows_of(logits)
    row_losses = empty_float64(n_rows) if loss is None else loss
    # Named tuples made by their class, as the docstring of `Memory` says.
    memory, slots = Memory(*memory_for(logits, grad, 1, n_threads, options)), Slots(*empty_slots())
    block_sums = memory_for_sums(logits)
    for i in range(n_rows):
        y, s = target_of(targets, i), sample_weight_of(options.sample_weight, i)
        is_kept, z_y = is_read(y, s, ignore_index), math.nan
        if is_kept:
            z_y = logit_of_target(row_at(logits, i, None, 0), y)
            for thread in prange(n_threads):
                sum_part_of_row(thread, n_threads, logits, targets, i, z_y, options, grad, memory, block_sums)
        solve_row(logits, targets, is_kept, i, z_y, options, row_losses, lse, None, grad, block_sums, slots)
        if grad is not None:
            if is_kept:
                for thread in prange(n_threads):
                    finish_part(thread, n_threads, logits, targets, i, scale, options, grad, memory, slots)
            else:
                set_derivatives_to_zero(_places(logits, grad, options, i))
    flatten_mean_of_no_weight(grad, options, scale)
    return mean_of(row_losses, divisor), bad
