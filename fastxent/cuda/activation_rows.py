"""softmax, log-softmax and log-sum-exp: a block of threads for each row, which is read twice."""

from functools import cache

from .loss_row import read_vector
from .options import On, Row, arithmetic_of, bits_of, vector_length
from .package import cuda, decoded, device, encoded, exp, kernel, log
from .sums import empty_sums, of_block, plus_vector
from .vectors import lead_of, put

_OFF = On()


@device
def _row_at(i, logits, c):
    """A row without a target."""
    n_inner = logits.shape[1]
    return Row(i // n_inner, i % n_inner, logits.shape[2], -1, c.zero, c.zero, c.zero, c.one)


@device
def _sums_of(row, place, first, step, raw, u, decode, c):
    sums = empty_sums(c)
    for j in range(first, row.n_classes, step):
        read_vector(row, place, j, raw, u, decode, _OFF, c)
        sums = plus_vector(sums, row, j, u, u, _OFF, c)  # there are no weights
    return of_block(sums, _OFF, c)


@cache
def softmax_rows(storage: str, out_storage: str, of_log: bool):
    real, decode, n = arithmetic_of(storage), decoded[storage], vector_length(storage)
    encode, bits, out_bits = encoded[out_storage], bits_of(storage), bits_of(out_storage)

    @kernel
    def softmax_rows(logits, out, c):
        """Or its logarithm."""
        raw, out_raw, u = cuda.local.array(n, bits), cuda.local.array(n, out_bits), cuda.local.array(n, real)
        row = _row_at(cuda.blockIdx.x, logits, c)
        place, out_place = logits[row.a, row.b], out[row.a, row.b]
        first, step = cuda.threadIdx.x * n - lead_of(place, raw), cuda.blockDim.x * n
        sums = _sums_of(row, place, first, step, raw, u, decode, c)
        sum_exp = sums.others if sums.others < c.infinity else c.nan
        inverse_sum_exp, log_sum = c.one / sum_exp, log(sum_exp)
        for j in range(first, row.n_classes, step):
            read_vector(row, place, j, raw, u, decode, _OFF, c)
            for k in range(n):
                gap = u[k] - sums.top
                u[k] = gap - log_sum if of_log else exp(gap) * inverse_sum_exp
            put(out_place, j, out_raw, u, encode)

    return softmax_rows


@cache
def logsumexp_rows(storage: str):
    real, decode, n, bits = arithmetic_of(storage), decoded[storage], vector_length(storage), bits_of(storage)

    @kernel
    def logsumexp_rows(logits, lse, c):
        raw, u = cuda.local.array(n, bits), cuda.local.array(n, real)
        row = _row_at(cuda.blockIdx.x, logits, c)
        place = logits[row.a, row.b]
        first, step = cuda.threadIdx.x * n - lead_of(place, raw), cuda.blockDim.x * n
        sums = _sums_of(row, place, first, step, raw, u, decode, c)
        if cuda.threadIdx.x == 0:
            lse[row.a, row.b, 0] = log(sums.others) + sums.top

    return logsumexp_rows
