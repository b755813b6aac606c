"""The CPU kernels: each takes checked arrays, computes, and neither validates nor raises.

Cross-entropy goes five ways. In `loss_rows` the classes of a row go across the lanes, by the walk of `row`
over the blocks of `row_block`; in `loss_split` threads share out that walk by `parts`; `loss_short` takes
short rows a `row_set` at a time, by `short_row`. In `loss_lanes` every lane has a row (a `tile` of them, many
classes by `tile_blocks`), be its classes few or far apart. `softmax` and `logsumexp` go the same ways, as
gradient and loss of cross-entropy without targets.

Sums grow in three steps, each a named tuple: `BlockSums` over a block, in the lanes of a vector; `Sums` over
the block and then over all blocks, one number each; `RowSums`, what a row's loss and derivatives are made of.
The `Tally` in each is what options add.

Begin with `loss_rows`, and with the mathematics that all share: `options`, `shift`, `exact_sum`, `tally`,
`outcome`, `derivatives`. `strided` and `columns` know where rows lie, `targets` and `total` what is before
and after all rows. `compile`, `cache`, `threads`, `interrupts` and `calls` are about Numba alone.
"""

from .binary_blocks import binary_cross_entropy_blocks, cyclic, first_bad_target_blocks
from .compile import Kernel
from .logsumexp import logsumexp_columns, logsumexp_rows, logsumexp_short, logsumexp_split
from .logsumexp_lanes import logsumexp_lanes
from .loss_lanes import FEW_CLASSES, cross_entropy_columns, cross_entropy_lanes, cross_entropy_long_tiles
from .loss_rows import cross_entropy_rows
from .loss_short import SHORT_ROW, cross_entropy_short
from .loss_split import cross_entropy_split
from .options import PLAIN, Options
from .probability_lanes import FEW_CLASSES_OF_PROBABILITIES, log_loss_lanes
from .probability_rows import log_loss_rows
from .sigmoid_blocks import sigmoid_blocks
from .softmax import softmax_columns, softmax_lanes, softmax_rows, softmax_short, softmax_split
from .softmax_grad import softmax_grad_lanes, softmax_grad_rows
from .strided import MOST_THROUGH_CACHES
from .threads import at_most, number_of_threads
