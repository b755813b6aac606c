"""Loss and gradient in place on a GPU, beside copying as much memory there; timed by CUDA's own events.

Both read and write each logit once, so the time of the copy over ours is the share of its bandwidth.
"""

import numpy as np

import fastxent

from .problems import TOLERANCE, Shape, check_same
from .rounds import ROUNDS, Call

N_CHECKED = 16  # rows whose gradients are compared with the specification's

SHAPES = [(8192, 50257), (8192, 128256), (32768, 1000)]
DTYPES = ["float32", "bfloat16"]


def why_not():
    """Why nothing can be measured here, or nothing."""
    if not hasattr(fastxent, "cuda"):
        return f"fastxent {fastxent.__version__} has no GPU path"
    if not fastxent.cuda.is_available():
        return "there is no GPU that numba.cuda can use"
    from numba import config

    return "numba.cuda is its simulator" if config.ENABLE_CUDASIM else ""


class GPUProblem:
    def __init__(self, shape: Shape, dtype: str) -> None:
        if dtype == "bfloat16":
            import ml_dtypes

            dtype = ml_dtypes.bfloat16
        rng = np.random.default_rng(0)
        logits = rng.standard_normal(shape, np.float32)
        logits *= 3
        logits = logits.astype(dtype, copy=False)
        targets = rng.integers(0, shape[1], shape[0])
        self.loss = fastxent.cross_entropy(logits, targets)
        _, self.grad = fastxent.reference.cross_entropy_with_grad(
            logits[:N_CHECKED].astype(np.float64), targets[:N_CHECKED], normalizer=shape[0]
        )
        self.first = fastxent.cuda.to_device(logits)
        self.buffer = fastxent.cuda.to_device(logits)
        self.targets = fastxent.cuda.to_device(targets)

    def refill(self):
        bits = f"i{self.first.dtype.itemsize}"  # which are copied whatever they mean
        self.buffer.view(bits).copy_to_device(self.first.view(bits))

    def fastxent(self):
        return fastxent.cross_entropy_with_grad(self.buffer, self.targets, grad_out=self.buffer)

    def calls(self) -> dict[str, Call]:
        return {"fastxent": Call(self.fastxent, self.refill), "copy": Call(self.refill)}

    def check(self, loss, grad) -> None:
        """The loss against the CPU's, and a few rows of a device array against the specification."""
        rows = grad[:N_CHECKED].copy_to_host().astype(np.float64)
        check_same((float(loss), rows), (self.loss, self.grad), TOLERANCE[grad.dtype.itemsize])

    def checked(self) -> "GPUProblem":
        self.refill()
        self.check(*self.fastxent())
        return self


def quickest_on_gpu(calls: dict[str, Call], n_rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of each, as `rounds.quickest`, by the GPU's clock: what the host waits for is in it."""
    for call in calls.values():
        _seconds(call)
    turns = [{name: _seconds(call) for name, call in calls.items()} for _ in range(n_rounds)]
    return {name: min(times[name] for times in turns) for name in calls}


def _seconds(call: Call) -> float:
    from numba import cuda

    call.prepare()
    start, end = cuda.event(), cuda.event()
    start.record()
    call.run()
    end.record()
    end.synchronize()
    return cuda.event_elapsed_time(start, end) / 1e3


class CrossEntropyWithGradOnGPU:
    """In place, reads and writes each logit once: 2b bytes."""

    params = (SHAPES, DTYPES)
    param_names = ("shape", "dtype")

    def setup(self, shape, dtype):
        if why_not():
            raise NotImplementedError(why_not())
        self.problem = GPUProblem(shape, dtype).checked()

    def track_times_copy(self, shape, dtype):
        times = quickest_on_gpu(self.problem.calls())
        return times["fastxent"] / times["copy"]

    track_times_copy.unit = "times"
