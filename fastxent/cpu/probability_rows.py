"""The loss of probabilities as they are, row by row; in float64 throughout."""

from numba import prange

from ..simd import advance, broadcast, first_lanes, get, lanes_of, log, reduce_sum, widen
from .compile import formula, inline, kernel
from .options import zero_times_infinity_is_zero
from .shape import n_rows_of, rows_of_chunk
from .strided import packed_rows, row_at, to_read
from .targets import is_read, sample_weight_of, survey, target_of
from .total import mean_of
from .vectors import full_vectors_end, load_inside


@formula
def _surprisal(p):
    return 0.0 - log(p)  # and not −log p, which for a certain class is −0


@formula
def mass_times_surprisal(mass, p):
    """Of one vector of classes; a class with no mass adds 0."""
    return zero_times_infinity_is_zero(mass, _surprisal(p))


@formula
def _masses_times_surprisals(p, t, j, inside):
    return mass_times_surprisal(widen(load_inside(t, j, inside, p)), widen(load_inside(p, j, inside, p)))


@inline
def _expected_surprisal(p, t, n_classes):
    """−Σ t·log p"""
    full = full_vectors_end(p, 0, n_classes)
    total = widen(broadcast(0.0, p))
    for j in range(0, full, lanes_of(p)):
        total += _masses_times_surprisals(p, t, j, None)
    if full < n_classes:
        total += _masses_times_surprisals(p, t, full, first_lanes(n_classes - full, p))
    return reduce_sum(total)


@formula
def _unweighted_loss(probs, soft_targets, y):
    if soft_targets is None:
        return _surprisal(get(advance(probs.start, y * probs.stride), 0))
    return _expected_surprisal(to_read(probs), to_read(soft_targets), probs.n_classes)


@inline
def _row_loss(probs, soft_targets, y, ignore_index, s):
    loss = 0.0
    if is_read(y, s, ignore_index):
        loss = s * _unweighted_loss(probs, soft_targets, y)
    return loss


@inline
def _log_loss_chunk(probs, targets, ignore_index, options, loss, rows):
    packed, packed_targets = packed_rows(probs, 1), packed_rows(options.soft_targets, 1)
    for i in range(rows[0], rows[1]):
        loss[i] = _row_loss(
            row_at(probs, i, packed, 0),
            row_at(options.soft_targets, i, packed_targets, 0),
            target_of(targets, i),
            ignore_index,
            sample_weight_of(options.sample_weight, i),
        )


@kernel("loss")
def log_loss_rows(n_chunks, probs, targets, ignore_index, divisor, options, loss):
    """As `cross_entropy_rows`, from probabilities; of the options, soft targets and sample weights."""
    divisor, _, bad = survey(probs, targets, ignore_index, divisor, options)
    if bad >= 0:
        return 0.0, bad
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows_of(probs))
        _log_loss_chunk(probs, targets, ignore_index, options, loss, rows)
    return mean_of(loss, divisor), bad
