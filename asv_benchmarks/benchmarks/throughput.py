"""Every public function over a grid of shapes and dtypes, beside naive NumPy and the memory limit.

Lower is better everywhere. Bytes are counted for a logit of b bytes; integer targets add 8 a row.
"""

from .problems import Shape, checked_problem
from .rounds import ROUNDS, quickest


class _Throughput:
    function: str
    params: tuple[list[Shape], list[str]] = ([(8192, 100), (1024, 5000)], ["float32", "float64"])
    param_names = ("shape", "dtype")
    number = 1  # each run needs a setup of its own: it overwrites its input
    rounds = 1

    def setup(self, shape, dtype):
        self.problem = checked_problem(self.function, shape, dtype)
        self.problem.refill()

    def time_fastxent(self, shape, dtype):
        self.problem.fastxent()

    def time_naive(self, shape, dtype):
        self.problem.naive()

    def track_share_of_naive_time(self, shape, dtype):
        return self._ratio_to("naive", n_rounds=3)  # far from 1, and naive takes its time

    def track_times_memory_limit(self, shape, dtype):
        return self._ratio_to("memory", n_rounds=ROUNDS)

    def _ratio_to(self, other, n_rounds):
        calls = self.problem.calls()
        times = quickest({name: calls[name] for name in ("fastxent", other)}, n_rounds)
        return times["fastxent"] / times[other]

    track_share_of_naive_time.unit = "share"
    track_times_memory_limit.unit = "times"


class _Hard(_Throughput):
    """Of few classes and small batches too, which have kernels of their own, and of half types."""

    params = ([(128, 10), (8192, 100), (1024, 5000)], ["float32", "float64", "float16"])


class CrossEntropy(_Hard):
    """Reads each logit once: b bytes."""

    function = "cross_entropy"


class CrossEntropyWithGrad(_Hard):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "cross_entropy_with_grad"


class BinaryCrossEntropy(_Throughput):
    """Reads each logit and its target once: 2b bytes."""

    function = "binary_cross_entropy"


class BinaryCrossEntropyWithGrad(_Throughput):
    """In place, reads each logit and its target and writes the logit once: 3b bytes."""

    function = "binary_cross_entropy_with_grad"


class KLDivergence(_Throughput):
    """Reads each logit and its target once: 2b bytes."""

    function = "kl_divergence"


class KLDivergenceWithGrad(_Throughput):
    """In place, reads each logit and its target and writes the logit once: 3b bytes."""

    function = "kl_divergence_with_grad"


class LogLoss(_Throughput):
    """Reads each probability once, b bytes; it is free to read that of the target alone."""

    function = "log_loss"


class Entropy(_Throughput):
    """Reads each probability once: b bytes."""

    function = "entropy"


class Softmax(_Throughput):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "softmax"


class LogSoftmax(_Throughput):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "log_softmax"


class LogSumExp(_Throughput):
    """Reads each logit once: b bytes."""

    function = "logsumexp"


class SoftmaxGrad(_Throughput):
    """In place, reads each probability and its gradient and writes the probability once: 3b bytes."""

    function = "softmax_grad"


class Sigmoid(_Throughput):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "sigmoid"


class _OfImages(_Throughput):
    """With classes far apart in memory: of more streams than processors foresee, and a power of two apart."""

    params = ([(4, 81, 8732), (2, 150, 128, 128)], ["float32"])

    def setup(self, shape, dtype):
        self.problem = checked_problem(self.function, shape, dtype, axis=1)
        self.problem.refill()


class CrossEntropyWithGradOfImages(_OfImages):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "cross_entropy_with_grad"


class SoftmaxOfImages(_OfImages):
    """In place, reads and writes each logit once: 2b bytes."""

    function = "softmax"


class SoftmaxGradOfImages(_OfImages):
    """In place, reads each probability and its gradient and writes the probability once: 3b bytes."""

    function = "softmax_grad"


class _ToAnotherArray(_Throughput):
    """Too large for the caches, past which the output goes."""

    params = ([(2048, 10000)], ["float32"])

    def setup(self, shape, dtype):
        self.problem = checked_problem(self.function, shape, dtype, in_place=False)


class CrossEntropyWithGradToAnotherArray(_ToAnotherArray):
    """Reads each logit and writes its gradient once: 2b bytes."""

    function = "cross_entropy_with_grad"


class LogSoftmaxToAnotherArray(_ToAnotherArray):
    """Reads and writes each number once: 2b bytes."""

    function = "log_softmax"


class SoftmaxGradToAnotherArray(_ToAnotherArray):
    """Reads each probability and its gradient and writes their product once: 3b bytes."""

    function = "softmax_grad"
