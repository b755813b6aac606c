"""Train a network in one function that Numba compiles: row by row, with no return to Python.

The data is scikit-learn's: 13 measurements of each of 178 wines, and which of three growers it is from.
Stochastic gradient descent in its plainest form updates the weights after every row, so that a step is a few
hundred multiplications, and what a call from Python costs would be most of it. Inside `train` nothing
goes back to Python, not even for fastxent.cross_entropy_with_grad. The script prints the loss as it falls,
the accuracy on held-out wines, and the time a row takes, also with `train` itself left in Python, where all
that it calls is still compiled. It takes about ten seconds, most of them to compile:

    python examples/train_njit.py
    python examples/train_njit.py --plot curve.png
"""

import argparse
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numba import njit
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import fastxent

SEED = 0
HIDDEN_SIZE = 16
N_EPOCHS = 50
LEARNING_RATE = 0.02


class Data(NamedTuple):
    train_rows: np.ndarray
    train_targets: np.ndarray
    held_out_rows: np.ndarray
    held_out_targets: np.ndarray


class Network(NamedTuple):
    """One hidden layer: the weights and biases of both maps."""

    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray


def load_data() -> Data:
    """Hold out a quarter of the wines; every measurement gets mean 0 and variance 1 over the others."""
    rows, targets = load_wine(return_X_y=True)
    train_rows, held_out_rows, train_targets, held_out_targets = train_test_split(
        rows, targets, test_size=0.25, stratify=targets, random_state=SEED
    )
    mean, scale = train_rows.mean(axis=0), train_rows.std(axis=0)
    return Data((train_rows - mean) / scale, train_targets, (held_out_rows - mean) / scale, held_out_targets)


def new_network(n_inputs: int, n_classes: int) -> Network:
    rng = np.random.default_rng(SEED)
    return Network(
        rng.normal(scale=n_inputs**-0.5, size=(HIDDEN_SIZE, n_inputs)),
        np.zeros(HIDDEN_SIZE),
        rng.normal(scale=HIDDEN_SIZE**-0.5, size=(n_classes, HIDDEN_SIZE)),
        np.zeros(n_classes),
    )


@njit
def apply(weight, bias, inputs, outputs):  # type: ignore[no-untyped-def]
    for i in range(len(outputs)):
        outputs[i] = bias[i]
        for j in range(len(inputs)):
            outputs[i] += weight[i, j] * inputs[j]


@njit
def update(weight, bias, inputs, grad, grad_inputs):  # type: ignore[no-untyped-def]
    """One step of gradient descent, from the gradient of the outputs; gives that of the inputs."""
    for j in range(len(inputs)):
        grad_inputs[j] = 0
        for i in range(len(grad)):
            grad_inputs[j] += weight[i, j] * grad[i]
            weight[i, j] -= LEARNING_RATE * grad[i] * inputs[j]
    for i in range(len(grad)):
        bias[i] -= LEARNING_RATE * grad[i]


@njit
def train(network, rows, targets, orders):  # type: ignore[no-untyped-def]
    """Update the network row by row, in these orders, one an epoch; the mean loss of each epoch."""
    hidden_weight, hidden_bias, output_weight, output_bias = network
    hidden, grad_hidden = np.empty_like(hidden_bias), np.empty_like(hidden_bias)
    logits, grad_row = np.empty_like(output_bias), np.empty_like(rows[0])
    losses = np.zeros(len(orders))
    for epoch, order in enumerate(orders):
        for row in order:
            apply(hidden_weight, hidden_bias, rows[row], hidden)
            for i in range(len(hidden)):
                hidden[i] = np.tanh(hidden[i])
            apply(output_weight, output_bias, hidden, logits)
            loss, grad = fastxent.cross_entropy_with_grad(logits, targets[row], grad_out=logits)
            losses[epoch] += loss / len(order)
            update(output_weight, output_bias, hidden, grad, grad_hidden)
            for i in range(len(hidden)):
                grad_hidden[i] *= 1 - hidden[i] ** 2
            update(hidden_weight, hidden_bias, rows[row], grad_hidden, grad_row)
    return losses


def accuracy(network: Network, rows: np.ndarray, targets: np.ndarray) -> float:
    hidden = np.tanh(rows @ network.hidden_weight.T + network.hidden_bias)
    logits = hidden @ network.output_weight.T + network.output_bias
    return float((logits.argmax(axis=1) == targets).mean())


class Result(NamedTuple):
    losses: np.ndarray
    accuracy: float
    seconds: float


def train_and_evaluate(data: Data, compiled: bool = True) -> Result:
    """Train from scratch, with the compiled function or with the one that it was compiled from."""
    network = new_network(data.train_rows.shape[1], len(np.unique(data.train_targets)))
    rng = np.random.default_rng(SEED)
    orders = np.array([rng.permutation(len(data.train_rows)) for _ in range(N_EPOCHS)])
    start = perf_counter()
    losses = (train if compiled else train.py_func)(network, data.train_rows, data.train_targets, orders)
    seconds = perf_counter() - start
    return Result(losses, accuracy(network, data.held_out_rows, data.held_out_targets), seconds)


def plot_losses(losses: np.ndarray, path: Path) -> None:
    # Here because only --plot needs it.
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot(losses)
    axes.set(title="Whose wine is it?", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a network inside one function that Numba compiles.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save the loss of every epoch to FILE")
    args = parser.parse_args()

    data = load_data()
    first = train_and_evaluate(data)
    compiled = train_and_evaluate(data)
    python = train_and_evaluate(data, compiled=False)
    np.testing.assert_allclose(compiled.losses, python.losses, rtol=1e-9)  # their tanh rounds differently
    for epoch in range(0, N_EPOCHS, 7):
        print(f"epoch {epoch:2}  loss {compiled.losses[epoch]:.4f}")
    print(f"held-out accuracy {compiled.accuracy:.3f}")
    print(f"first call {first.seconds:.1f} s, then, to the same losses:")
    for name, result in (("compiled", compiled), ("in Python", python)):
        microseconds = result.seconds / (N_EPOCHS * len(data.train_rows)) * 1e6
        print(f"train {name:9}  {result.seconds:5.2f} s  {microseconds:5.1f} us a row")
    if args.plot:
        plot_losses(compiled.losses, args.plot)


if __name__ == "__main__":
    main()
