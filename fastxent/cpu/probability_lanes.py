"""The loss of probabilities beside soft targets, one row a lane; in float64 throughout."""

from numba import prange

from ..simd import empty_float64, first_lanes, lanes_of, where, widen
from .columns import columns_at, read
from .compile import inline, kernel
from .groups import add_to_group, clear_groups, sum_of_groups
from .probability_rows import mass_times_surprisal
from .row_lanes import get_lanes, set_lanes
from .shape import n_classes_of, tiled_rows_of_chunk
from .strided import address
from .targets import survey
from .total import mean_of

FEW_CLASSES_OF_PROBABILITIES = 15
"""Up to here this is the quicker way, for `softmax_grad` too: such a row fills no vector of float32."""


@inline
def _expected_surprisal(probs, soft_targets, n_classes, inside, groups, z):
    """−Σ t·log p, summed as in `probability_rows`."""
    clear_groups(groups, z)
    for j in range(n_classes):
        mass, p = widen(read(soft_targets, j, inside, z)), widen(read(probs, j, inside, z))
        add_to_group(groups, j, mass_times_surprisal(mass, p), z)
    return sum_of_groups(groups, z)


@inline
def _tiles(probs, options, loss, rows):
    lanes, n_classes, z = lanes_of(probs), n_classes_of(probs), address(probs)
    groups = empty_float64(lanes * lanes)
    for start in range(rows[0], rows[1], lanes):
        n_lanes = min(lanes, rows[1] - start)
        inside = first_lanes(n_lanes, z)
        s = get_lanes(address(options.sample_weight), 1.0, start, inside, z)
        p = columns_at(probs, start, n_lanes, z, None)
        t = columns_at(options.soft_targets, start, n_lanes, z, None)
        row_loss = s * _expected_surprisal(p, t, n_classes, inside, address(groups), z)
        set_lanes(address(loss), start, inside, where(s != 0.0, row_loss, 0.0))


@kernel("loss")
def log_loss_lanes(n_chunks, probs, divisor, options, loss):
    """The mean of `log_loss_rows`, to the bit, for soft targets: of few classes, or such as are far apart."""
    divisor, _, _ = survey(probs, None, 0, divisor, options)
    for chunk in prange(n_chunks):
        _tiles(probs, options, loss, tiled_rows_of_chunk(chunk, n_chunks, probs))
    return mean_of(loss, divisor)
