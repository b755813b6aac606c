"""Cross-entropy over a grid of shapes, beside the naive NumPy baseline."""

from time import perf_counter

import numpy as np

import fastxent
from fastxent import reference

from .problems import DTYPES, SHAPES, problem


class CrossEntropy:
    """Loss alone reads each logit once; loss and gradient in place read and write each once."""

    params = (SHAPES, DTYPES)
    param_names = ("shape", "dtype")
    number = 1  # the gradient overwrites the logits, so each run needs its own setup

    def setup(self, shape, dtype):
        self.logits, self.targets = problem(shape, dtype)
        self.buffer = self.logits.copy()

    def time_loss(self, shape, dtype):
        fastxent.cross_entropy(self.logits, self.targets)

    def time_loss_and_grad_in_place(self, shape, dtype):
        fastxent.cross_entropy_with_grad(self.buffer, self.targets, grad_out=self.buffer)

    def time_naive_loss_and_grad(self, shape, dtype):
        reference.cross_entropy_with_grad(self.logits, self.targets)

    def track_share_of_naive_time(self, shape, dtype):
        """Median over rounds of our time over that of the naive baseline; lower is better."""
        shares = []
        for _ in range(11):
            np.copyto(self.buffer, self.logits)
            start = perf_counter()
            fastxent.cross_entropy_with_grad(self.buffer, self.targets, grad_out=self.buffer)
            middle = perf_counter()
            reference.cross_entropy_with_grad(self.logits, self.targets)
            shares.append((middle - start) / (perf_counter() - middle))
        return float(np.median(shares))

    track_share_of_naive_time.unit = "share"
