"""Classify handwritten digits with two small models that differ in one layer.

Both are trained in NumPy on scikit-learn's digits, 8 by 8 pixels each: a linear softmax classifier, and a
network with one hidden layer. The loss and its gradient come from a single call of
fastxent.cross_entropy_with_grad, and the chain rule carries the gradient on to the weights.
It takes a few seconds:

    python examples/train_digits.py
    python examples/train_digits.py --plot confusion.png
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import trange

import fastxent

SEED = 0
N_CLASSES = 10
HIDDEN_SIZE = 64
BATCH_SIZE = 64
N_EPOCHS = 40
LEARNING_RATE = 0.2


class Data(NamedTuple):
    train_images: np.ndarray
    train_targets: np.ndarray
    held_out_images: np.ndarray
    held_out_targets: np.ndarray


class Layer:
    """A linear map from rows of inputs to rows of outputs, trained by gradient descent."""

    def __init__(self, n_inputs: int, n_outputs: int, rng: np.random.Generator) -> None:
        self.weight = rng.normal(scale=n_inputs**-0.5, size=(n_inputs, n_outputs)).astype(np.float32)
        self.bias = np.zeros(n_outputs, dtype=np.float32)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        self.inputs = inputs
        return inputs @ self.weight + self.bias

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """Update the layer and return the gradient with respect to its inputs."""
        grad_inputs = grad @ self.weight.T
        self.weight -= LEARNING_RATE * (self.inputs.T @ grad)
        self.bias -= LEARNING_RATE * grad.sum(axis=0)
        return grad_inputs


class LinearClassifier:
    """One layer, straight from the pixels to the logits."""

    def __init__(self, n_pixels: int, rng: np.random.Generator) -> None:
        self.layer = Layer(n_pixels, N_CLASSES, rng)

    def forward(self, images: np.ndarray) -> np.ndarray:
        return self.layer.forward(images)

    def backward(self, grad_logits: np.ndarray) -> None:
        self.layer.backward(grad_logits)


class HiddenLayerClassifier:
    """Two layers, with a tanh between them."""

    def __init__(self, n_pixels: int, rng: np.random.Generator) -> None:
        self.first = Layer(n_pixels, HIDDEN_SIZE, rng)
        self.second = Layer(HIDDEN_SIZE, N_CLASSES, rng)

    def forward(self, images: np.ndarray) -> np.ndarray:
        self.hidden = np.tanh(self.first.forward(images))
        return self.second.forward(self.hidden)

    def backward(self, grad_logits: np.ndarray) -> None:
        grad_hidden = self.second.backward(grad_logits)
        self.first.backward(grad_hidden * (1 - self.hidden**2))


Classifier = LinearClassifier | HiddenLayerClassifier
CLASSIFIERS: dict[str, type[Classifier]] = {"linear": LinearClassifier, "hidden layer": HiddenLayerClassifier}


class Result(NamedTuple):
    loss: float
    accuracy: float
    predictions: np.ndarray


def load_data() -> Data:
    """Hold out a quarter of the images, as many of every digit as in the rest."""
    images, targets = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)  # pixels run from 0 to 16
    train_images, held_out_images, train_targets, held_out_targets = train_test_split(
        images, targets, test_size=0.25, stratify=targets, random_state=SEED
    )
    return Data(train_images, train_targets, held_out_images, held_out_targets)


def train(model: Classifier, data: Data, rng: np.random.Generator) -> None:
    n_rows = len(data.train_images)
    for _ in trange(N_EPOCHS, desc=type(model).__name__, unit="epoch"):
        order = rng.permutation(n_rows)
        for start in range(0, n_rows, BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            logits = model.forward(data.train_images[batch])
            _, grad = fastxent.cross_entropy_with_grad(logits, data.train_targets[batch])
            model.backward(grad)


def evaluate(model: Classifier, data: Data) -> Result:
    logits = model.forward(data.held_out_images)
    predictions = logits.argmax(axis=1)
    accuracy = float((predictions == data.held_out_targets).mean())
    return Result(fastxent.cross_entropy(logits, data.held_out_targets), accuracy, predictions)


def train_and_evaluate(name: str, data: Data) -> Result:
    """Train one of CLASSIFIERS from scratch and return how it does on the held-out images."""
    rng = np.random.default_rng(SEED)
    model = CLASSIFIERS[name](data.train_images.shape[1], rng)
    train(model, data, rng)
    return evaluate(model, data)


def plot_confusion(results: dict[str, Result], data: Data, path: Path) -> None:
    # Here because only --plot needs them.
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    figure = Figure(figsize=(5 * len(results), 5), layout="constrained")
    for axes, (name, result) in zip(figure.subplots(ncols=len(results)), results.items(), strict=True):
        ConfusionMatrixDisplay.from_predictions(
            data.held_out_targets, result.predictions, ax=axes, colorbar=False, cmap="Blues"
        )
        axes.set_title(f"{name}, accuracy {result.accuracy:.3f}")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train two classifiers on handwritten digits.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save the confusion matrices to FILE")
    args = parser.parse_args()

    data = load_data()
    results = {name: train_and_evaluate(name, data) for name in CLASSIFIERS}
    for name, result in results.items():
        print(f"{name:12}  held-out loss {result.loss:.4f}, accuracy {result.accuracy:.3f}")
    if args.plot:
        plot_confusion(results, data, args.plot)


if __name__ == "__main__":
    main()
