"""Peak memory of a process that calls one function once, in bytes as the operating system counts them."""

from .problems import FUNCTIONS, Problem, checked_problem


class PeakMemory:
    """The arguments are in it, 4 bytes a logit each, a copy of one that is overwritten, and 100 MB or so
    for Python and Numba. The call itself moves the bytes that its class in `throughput` states."""

    params = (tuple(FUNCTIONS),)
    param_names = ("function",)
    shape = (512, 20000)
    checked_shape = (64, 1024)  # the same machine code in little memory

    def setup(self, function):
        checked_problem(function, self.checked_shape, "float32")
        self.problem = Problem(function, self.shape, "float32")

    def peakmem_fastxent(self, function):
        self.problem.fastxent()

    def peakmem_naive(self, function):
        self.problem.naive()
