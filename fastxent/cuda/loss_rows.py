"""Cross-entropy: a block of threads for each row, or one thread (a lane, on the CPU) if classes are few."""

from functools import cache

from .loss_row import Scratch, finish_vector, read_vector, row_at, slope_of, sum_vector, write_row
from .options import On, arithmetic_of, bits_of, vector_length
from .outcome import outcome_of
from .package import cuda, decoded, encoded, kernel
from .sums import empty_sums, of_block, together
from .survey import FIRST_BAD
from .vectors import lead_of

VALUES_KEPT = 16
"""In the registers of each thread, where a block can so keep all of a row and read it once."""

VECTORS_IN_PART = 64
"""After which a thread that takes a row begins another sum: one of 100,000 terms would round too often."""


def vectors_kept(storage: str) -> int:
    return min(4, VALUES_KEPT // vector_length(storage))  # loops over more are not unrolled


@cache
def cross_entropy_rows(storage: str, grad_storage: str, hess_storage: str, on: On, keeps: bool):
    """A block a row. If it keeps the row, VALUES_KEPT a thread must be enough for it."""
    real, decode, n = arithmetic_of(storage), decoded[storage], vector_length(storage)
    encode, encode_hess = encoded[grad_storage], encoded[hess_storage]
    bits, grad_bits, hess_bits = bits_of(storage), bits_of(grad_storage), bits_of(hess_storage)
    n_kept = vectors_kept(storage) if keeps else 1

    @kernel
    def cross_entropy_rows(arrays, c, ignore_index, state):
        if state[FIRST_BAD] >= 0:
            return
        row = row_at(cuda.blockIdx.x, arrays, ignore_index, decode, on, c)
        logits = arrays.logits[row.a, row.b]
        raw, u = cuda.local.array(n, bits), cuda.local.array((n_kept, n), real)
        grad_raw, hess_raw = cuda.local.array(n, grad_bits), cuda.local.array(n, hess_bits)
        scratch = Scratch(grad_raw, hess_raw, cuda.local.array(n, real))
        first, step = cuda.threadIdx.x * n - lead_of(logits, raw), cuda.blockDim.x * n
        n_steps = (logits.size - first + step - 1) // step if logits.size > first else 0
        sums = empty_sums(c)
        if keeps:
            for v in range(n_kept):
                if first + v * step < row.n_classes:
                    sums = sum_vector(
                        sums, row, logits, first + v * step, raw, u[v], arrays.weight, decode, on, c
                    )
        else:
            for j in range(first, row.n_classes, step):
                sums = sum_vector(sums, row, logits, j, raw, u[0], arrays.weight, decode, on, c)
        sums = of_block(sums, on, c)
        outcome, slope = outcome_of(sums, row, on, c), slope_of(row, state, c)
        if cuda.threadIdx.x == 0:
            write_row(row, sums, outcome, arrays, on, c)
        if on.grad and keeps:
            for v in range(n_kept):
                j = first + v * step
                if j < logits.size:
                    finish_vector(
                        row, j, u[v], scratch, sums.top, outcome, arrays, slope, encode, encode_hess, on, c
                    )
        elif on.grad:
            for v in range(n_steps - 1, -1, -1):  # what was read last may still be in the cache
                j = first + v * step
                read_vector(row, logits, j, raw, u[0], decode, on, c)
                finish_vector(
                    row, j, u[0], scratch, sums.top, outcome, arrays, slope, encode, encode_hess, on, c
                )

    return cross_entropy_rows


@cache
def cross_entropy_lanes(storage: str, grad_storage: str, hess_storage: str, on: On):
    """A thread a row."""
    real, decode, n = arithmetic_of(storage), decoded[storage], vector_length(storage)
    encode, encode_hess = encoded[grad_storage], encoded[hess_storage]
    bits, grad_bits, hess_bits = bits_of(storage), bits_of(grad_storage), bits_of(hess_storage)

    @kernel
    def cross_entropy_lanes(arrays, c, ignore_index, state):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if state[FIRST_BAD] >= 0 or i >= arrays.logits.shape[0] * arrays.logits.shape[1]:
            return
        row = row_at(i, arrays, ignore_index, decode, on, c)
        logits = arrays.logits[row.a, row.b]
        raw, u = cuda.local.array(n, bits), cuda.local.array(n, real)
        grad_raw, hess_raw = cuda.local.array(n, grad_bits), cuda.local.array(n, hess_bits)
        scratch = Scratch(grad_raw, hess_raw, cuda.local.array(n, real))
        first, sums = -lead_of(logits, raw), empty_sums(c)
        for start in range(first, row.n_classes, n * VECTORS_IN_PART):
            part, stop = empty_sums(c), start + n * VECTORS_IN_PART
            stop = stop if stop < row.n_classes else row.n_classes  # Numba's own numba.cuda has no min
            for j in range(start, stop, n):
                part = sum_vector(part, row, logits, j, raw, u, arrays.weight, decode, on, c)
            sums = part if start == first else together(sums, part, on, c)
        outcome, slope = outcome_of(sums, row, on, c), slope_of(row, state, c)
        write_row(row, sums, outcome, arrays, on, c)
        if on.grad:
            for j in range(first, logits.size, n):
                read_vector(row, logits, j, raw, u, decode, on, c)
                finish_vector(
                    row, j, u, scratch, sums.top, outcome, arrays, slope, encode, encode_hess, on, c
                )

    return cross_entropy_lanes
