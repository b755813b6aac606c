"""What must be known of all targets before a row is taken, and the sum of the losses; by one block each.

`state` is where kernels leave numbers about the whole batch, for each other and in the end for the host.
"""

from .._validation import NO_CLASS_BEYOND
from ..cpu.targets import LEAST_DIVISOR
from .package import cast, cuda, device, kernel, max_of_block, sum_of_block

LOSS, DIVISOR, SCALE, FIRST_BAD = range(4)  # SCALE is 1 over the divisor, 0 if that is 0
N_NUMBERS = 4


@device
def target_of(targets, a, b, ignore_index):
    """As int64; what that cannot hold is no class."""
    given = targets[a, b, 0]
    y = cast(given, ignore_index)
    return NO_CLASS_BEYOND if given > 0 and y < 0 else y


@kernel
def survey(targets, n_classes, ignore_index, divisor, weights, has, state):
    """The first bad target, −1 if there is none, and the divisor: that of the mean if 0 is given."""
    weight, sample_weight = weights
    has_weight, has_sample_weight = has
    n_rows = targets.shape[0] * targets.shape[1]
    total, last = 0.0, float(n_rows)
    nearest = -last  # a block has a maximum of all threads, so it is asked for the first, negated
    for i in range(cuda.threadIdx.x, n_rows, cuda.blockDim.x):
        y = target_of(targets, i // targets.shape[1], i % targets.shape[1], ignore_index)
        if y != ignore_index:
            if y < 0 or y >= n_classes:
                nearest = -float(i) if -float(i) > nearest else nearest
            else:
                w = weight[y] if has_weight else 1.0
                total += w * sample_weight[i] if has_sample_weight else w
    total, nearest = sum_of_block(total), max_of_block(nearest)
    if cuda.threadIdx.x == 0:
        divisor = total if divisor == 0.0 else divisor
        divisor = divisor if divisor >= LEAST_DIVISOR else 0.0
        state[DIVISOR] = divisor
        state[SCALE] = 1.0 / divisor if divisor > 0.0 else 0.0
        state[FIRST_BAD] = -nearest if -nearest < last else -1.0


@kernel
def mean_of(losses, state):
    """The sum of the row losses, in float64 and in one order, over the divisor; 0 where that is 0."""
    n_rows = losses.shape[0] * losses.shape[1]
    total = 0.0
    for i in range(cuda.threadIdx.x, n_rows, cuda.blockDim.x):
        total += losses[i // losses.shape[1], i % losses.shape[1], 0]
    total = sum_of_block(total)
    if cuda.threadIdx.x == 0:
        state[LOSS] = total / state[DIVISOR] if state[DIVISOR] > 0.0 else 0.0
