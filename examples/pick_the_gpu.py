"""Train a digit classifier by the same steps on the GPU, if there is one, and on the CPU otherwise.

A step multiplies images by weights, hands the logits to fastxent, which overwrites them with their gradient,
and multiplies back. Only `Place` knows where arrays are: on a GPU the products are CuPy's, and fastxent
takes CuPy's arrays as they are; NumPy's it computes on the CPU. It runs for a few seconds:

    python examples/pick_the_gpu.py             # says which it took
    python examples/pick_the_gpu.py --place cpu
"""

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tqdm import trange

import fastxent

N_DIGITS = 10
LEARNING_RATE = 0.5
N_STEPS = 200


class Place(NamedTuple):
    """Where arrays lie, and the module that has their products."""

    name: str
    xp: Any  # NumPy or CuPy

    def to_host(self, array: Any) -> NDArray[Any]:
        return np.asarray(array.get() if hasattr(array, "get") else array)


class Result(NamedTuple):
    losses: list[float]
    accuracy: float


def pick(wanted: str = "best") -> Place:
    """Return the GPU, where `numba.cuda` and CuPy find one, or the CPU."""
    if wanted != "cpu" and fastxent.cuda.is_available():
        try:
            import cupy

            cupy.zeros(1)
            return Place("gpu", cupy)
        except Exception as error:  # CuPy finds no GPU, as beside the simulator, or is not installed
            if wanted == "gpu":
                raise RuntimeError("CuPy, which multiplies matrices on the GPU, is not usable") from error
    if wanted == "gpu":
        raise RuntimeError("there is no GPU that numba.cuda can use")
    return Place("cpu", np)


def train(place: Place, n_steps: int = N_STEPS) -> Result:
    """Train by gradient descent on all images but every fifth, and test on those."""
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    is_test = np.arange(len(images)) % 5 == 0
    x, y = place.xp.asarray(images[~is_test]), place.xp.asarray(digits.target[~is_test])
    weights = place.xp.zeros((images.shape[1], N_DIGITS), np.float32)
    losses = []
    for _ in trange(n_steps, desc=f"training on the {place.name}", unit="step"):
        logits = x @ weights
        loss, grad = fastxent.cross_entropy_with_grad(logits, y, grad_out=logits)
        weights -= LEARNING_RATE * (x.T @ grad)
        losses.append(loss)
    guessed = (images[is_test] @ place.to_host(weights)).argmax(axis=1)
    return Result(losses, float(np.mean(guessed == digits.target[is_test])))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on the GPU if there is one, on the CPU otherwise.")
    parser.add_argument("--place", choices=["best", "gpu", "cpu"], default="best")
    try:
        place = pick(parser.parse_args().place)
    except RuntimeError as error:
        parser.error(str(error))
    print(f"It runs on the {place.name.upper()}.")
    result = train(place)
    print(
        f"loss {result.losses[0]:.4f} to {result.losses[-1]:.4f}; {result.accuracy:.1%} of new digits right"
    )


if __name__ == "__main__":
    main()
