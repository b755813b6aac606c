"""The registry of contenders: who computes loss and gradient of softmax cross-entropy, and how each is asked.

Each gets its arguments in the form it likes best, outside the clock. Only fastxent overwrites the logits;
the others are spared what refills them, and scikit-learn is spared the division by the number of rows too.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from benchmarks.problems import check_same
from benchmarks.rounds import Call

from . import arithmetic

Result = tuple[Any, Any]  # the mean loss and its gradient

TOLERANCE = 1e-4  # of the largest element: others add up a hundred thousand float32 in float32


class Task(NamedTuple):
    """What is timed, and how to read the result off what it returns."""

    call: Call
    result: Callable[[Any], Result] | None = lambda returned: returned

    def check(self, expected: Result) -> None:
        if self.result is not None:
            self.call.prepare()
            check_same(self.result(self.call.run()), expected, TOLERANCE)


def _memory(problem):
    return Task(problem.calls()["memory"], None)


def _arithmetic(problem):
    vectors = arithmetic.start(problem.first.size)
    return Task(Call(lambda: arithmetic.compute(vectors, problem.first.size)), None)


def _numpy(problem):
    return Task(problem.calls()["naive"])


def _scipy(problem):
    from scipy.special import log_softmax

    logits, targets, axis = problem.first, problem.others[0], problem.axis
    index = np.expand_dims(targets, axis)

    def run():
        log_probs = log_softmax(logits, axis=axis)
        loss = -np.mean(np.take_along_axis(log_probs, index, axis))
        grad = np.exp(log_probs, out=log_probs)
        np.put_along_axis(grad, index, np.take_along_axis(grad, index, axis) - 1, axis)
        grad /= targets.size
        return loss, grad

    return Task(Call(run))


def _torch(problem):
    import torch
    from torch.nn.functional import cross_entropy

    axis = problem.axis
    z = torch.tensor(problem.first).movedim(axis, 1).requires_grad_()
    y = torch.tensor(problem.others[0])

    def run():
        loss = cross_entropy(z, y)
        return loss.detach(), torch.autograd.grad(loss, z)[0]

    return Task(Call(run), lambda returned: (returned[0].item(), returned[1].movedim(1, axis).numpy()))


def _torch_compile(problem):
    import torch
    from torch.nn.functional import cross_entropy

    grad_and_loss = torch.compile(torch.func.grad_and_value(cross_entropy), dynamic=False)
    axis = problem.axis
    z, y = torch.tensor(problem.first).movedim(axis, 1), torch.tensor(problem.others[0])
    return Task(
        Call(lambda: grad_and_loss(z, y)),
        lambda returned: (returned[1].item(), returned[0].movedim(1, axis).numpy()),
    )


def _jax(problem):
    import jax
    from optax import softmax_cross_entropy_with_integer_labels

    jax.config.update("jax_platforms", "cpu")

    def loss(z, y):
        return softmax_cross_entropy_with_integer_labels(z, y, axis=problem.axis).mean()

    loss_and_grad = jax.jit(jax.value_and_grad(loss))
    z, y = jax.device_put(problem.first), jax.device_put(problem.others[0].astype(np.int32))
    return Task(
        Call(lambda: jax.block_until_ready(loss_and_grad(z, y))),
        lambda returned: (float(returned[0]), np.asarray(returned[1])),
    )


def _sklearn(problem):
    import numba
    from sklearn._loss.loss import HalfMultinomialLoss

    classes_last = np.moveaxis(problem.first, problem.axis, -1)
    z = classes_last.reshape(-1, classes_last.shape[-1])
    y = problem.others[0].reshape(-1).astype(z.dtype)
    losses, grad = np.empty_like(y), np.empty(z.shape, z.dtype)
    outputs = {"loss_out": losses, "gradient_out": grad, "n_threads": numba.get_num_threads()}
    loss_gradient = HalfMultinomialLoss(n_classes=z.shape[1]).loss_gradient

    def result(_):
        of_mean = (grad / len(z)).reshape(classes_last.shape)
        return np.mean(losses), np.moveaxis(of_mean, -1, problem.axis)

    return Task(Call(lambda: loss_gradient(y, z, **outputs)), result)


class Contender(NamedTuple):
    task: Callable[..., Any]  # from a Problem to a Task; for `accuracy`, from logits and targets to results
    needs: tuple[str, ...] = ()  # modules

    def is_installed(self) -> bool:
        return all(find_spec(name) for name in self.needs)


MEMORY, ARITHMETIC = LIMITS = "memory limit", "arithmetic limit"
CONTENDERS = {
    MEMORY: Contender(_memory),
    ARITHMETIC: Contender(_arithmetic),
    "naive NumPy": Contender(_numpy),
    "SciPy": Contender(_scipy, ("scipy",)),
    "PyTorch eager": Contender(_torch, ("torch",)),
    "torch.compile": Contender(_torch_compile, ("torch",)),
    "JAX jit + optax": Contender(_jax, ("jax", "optax")),
    "scikit-learn": Contender(_sklearn, ("sklearn",)),
}
RIVALS = ("PyTorch eager", "torch.compile", "JAX jit + optax", "scikit-learn")
