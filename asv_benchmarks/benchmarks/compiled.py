"""Calls from functions that users compile, beside the same calls from Python."""

import numpy as np
from numba import njit, prange
from numba.core.errors import TypingError

import fastxent

from .problems import checked_problem
from .rounds import Call, quickest


def many_calls(logits, targets, n_calls):
    loss = 0.0
    for _ in range(n_calls):
        loss, _ = fastxent.cross_entropy_with_grad(logits, targets, grad_out=logits)
    return loss


compiled_calls = njit(many_calls)


@njit(parallel=True)
def rows_in_parallel(logits, targets, losses):
    for i in prange(len(targets)):
        losses[i], _ = fastxent.cross_entropy_with_grad(
            logits[i], targets[i], reduction="none", grad_out=logits[i]
        )


class FromCompiledCode:
    """Loss and gradient in place, which read and write each logit once: 8 bytes a logit and call."""

    params = ([(1, 10), (128, 10), (128, 1000), (512, 50257)],)
    param_names = ("shape",)
    number = rounds = 1

    def setup(self, shape):
        self.problem = checked_problem("cross_entropy_with_grad", shape, "float32")
        self.problem.refill()
        self.logits, self.targets = self.problem.buffer, self.problem.others[0]
        self.losses = np.empty(len(self.targets), self.logits.dtype)
        self.n_calls = 1 + 2**17 // self.logits.size
        expected, grad = fastxent.cross_entropy_with_grad(self.logits, self.targets, reduction="none")
        try:
            self.time_rows_in_parallel(shape)
        except TypingError:
            raise NotImplementedError(f"fastxent {fastxent.__version__} is only called from Python") from None
        assert np.array_equal(self.losses, expected)
        assert np.array_equal(self.logits, grad)
        self.problem.refill()
        expected = fastxent.cross_entropy(self.logits, self.targets)
        assert compiled_calls(self.logits, self.targets, 1) == expected

    def time_calls(self, shape):
        compiled_calls(self.logits, self.targets, self.n_calls)

    def time_calls_from_python(self, shape):
        many_calls(self.logits, self.targets, self.n_calls)

    def time_rows_in_parallel(self, shape):
        rows_in_parallel(self.logits, self.targets, self.losses)

    def _seconds(self, **calls):
        return quickest({name: Call(run, self.problem.refill) for name, run in calls.items()})

    def track_share_of_time_from_python(self, shape):
        times = self._seconds(
            compiled=lambda: self.time_calls(shape), python=lambda: self.time_calls_from_python(shape)
        )
        return times["compiled"] / times["python"]

    def track_ns_a_row_in_parallel(self, shape):
        return self._seconds(rows=lambda: self.time_rows_in_parallel(shape))["rows"] / shape[0] * 1e9

    track_share_of_time_from_python.unit = "share"
    track_ns_a_row_in_parallel.unit = "ns"
