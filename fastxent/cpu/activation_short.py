"""softmax, log-softmax, log-sum-exp of short rows: gradient and loss of cross-entropy without targets."""

from numba import prange

from ..simd import empty_float64, row_pointer
from .activation_rows import CACHED, memory_for_low, put_log_probabilities
from .compile import inline, kernel, or_none
from .derivatives import HighLow
from .loss_short import loss_chunk
from .options import PLAIN
from .shape import n_classes_of, n_rows_of, rows_of_chunk
from .strided import THROUGH_CACHES


@kernel("out")
def softmax_short(n_chunks, logits, out):
    """As `softmax_rows`, to the bit, for short rows whose classes lie side by side."""
    for chunk in prange(n_chunks):
        rows = rows_of_chunk(chunk, n_chunks, n_rows_of(logits))
        loss_chunk(logits, None, 0, 1.0, PLAIN, None, None, None, grad=out, rows=rows)


@or_none
def _put_log_softmax(out, logits, lse, lse_low, rows):
    for i in range(rows[0], rows[1]):
        z, row_lse = row_pointer(logits, i), HighLow(lse[i], lse_low[i])
        put_log_probabilities(z, 0, n_classes_of(logits), row_lse, row_pointer(out, i), THROUGH_CACHES)


@inline
def _logsumexp_chunk(logits, lse, lse_low, out, rows):
    step = CACHED // n_classes_of(logits)
    for first in range(rows[0], rows[1], step):
        cached = first, min(first + step, rows[1])
        loss_chunk(logits, None, 0, 1.0, PLAIN, None, lse, lse_low, grad=None, rows=cached)
        _put_log_softmax(out, logits, lse, lse_low, cached)


@kernel("lse", "out")
def logsumexp_short(n_chunks, logits, lse, out):
    """As `logsumexp_rows`, to the bit, for short rows whose classes lie side by side."""
    row_lse = empty_float64(n_rows_of(logits)) if lse is None else lse
    lse_low = memory_for_low(out)
    for chunk in prange(n_chunks):
        _logsumexp_chunk(logits, row_lse, lse_low, out, rows_of_chunk(chunk, n_chunks, n_rows_of(logits)))
