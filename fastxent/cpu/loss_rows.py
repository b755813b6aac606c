"""Cross-entropy over many classes: row by row, classes across the lanes."""

import numpy as np
from numba import prange

from ..simd import pointer, put
from .compile import inline, kernel
from .likelihood import likelihood
from .row import n_blocks, rows_in_chunk, scale_row, sum_exp
from .strided import pack_row, row_is_strided, unpack_row, zero_row
from .targets import count
from .total import sum_of


@inline
def loss_row(z, n_classes, y, scale, grad, shifts):
    """Loss and log-sum-exp of one row; with a grad, which may be z, (softmax − one-hot)·scale there."""
    z_y = float(z[y])
    others, shift, _ = sum_exp(z, n_classes, y, grad, shifts)
    row = likelihood(others, z_y, shift)
    if grad is not None:
        scale_row(grad, n_classes, row.scale * scale, shifts, shift)
        put(grad, y, -others * row.scale * scale)
    return row


@inline
def loss_chunk(logits, targets, ignore_index, scale, loss, lse, grad, rows):
    n_classes = logits.shape[1]
    strided = row_is_strided(logits)
    if grad is not None:
        strided = strided or row_is_strided(grad)
    packed = np.empty(n_classes if strided else 0, logits.dtype)
    shifts = np.empty((n_blocks(logits), 2))
    for i in range(rows[0], rows[1]):
        row_loss, row_lse = 0.0, 0.0
        if targets[i] != ignore_index:
            if strided:
                pack_row(logits, i, packed)
            z = pointer(packed, 0) if strided else pointer(logits, i)
            if grad is None:
                row = loss_row(z, n_classes, targets[i], scale, None, shifts)
            else:
                out = z if strided else pointer(grad, i)
                row = loss_row(z, n_classes, targets[i], scale, out, shifts)
                if strided:
                    unpack_row(packed, grad, i)
            row_loss, row_lse = row.loss, row.lse
        elif grad is not None:
            zero_row(grad, i)
        loss[i] = row_loss
        if lse is not None:
            lse[i] = row_lse


@kernel("loss", "lse", "grad")
def cross_entropy_rows(logits, targets, ignore_index, divisor, loss, lse, grad):
    """The sum of the row losses over the divisor, and the first bad target, −1 if there is none.

    A bad target is found before anything is written. A divisor of 0 stands for the number of rows kept;
    loss, lse and grad may be None.
    """
    n_rows, n_classes = logits.shape
    n_kept, bad = count(targets, n_classes, ignore_index)
    if bad >= 0:
        return 0.0, bad
    if divisor == 0:
        divisor = float(max(1, n_kept))
    row_losses = np.empty(n_rows) if loss is None else loss
    step = rows_in_chunk(n_classes)
    for chunk in prange((n_rows + step - 1) // step):
        start = np.int64(chunk) * step
        rows = (start, min(start + step, n_rows))
        loss_chunk(logits, targets, ignore_index, 1.0 / divisor, row_losses, lse, grad, rows)
    return sum_of(row_losses) / divisor, bad
