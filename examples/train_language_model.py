"""Train a small language model on the source code of Python's own standard library.

The model reads five identifiers in a row and predicts the next one, with a softmax over a vocabulary of
25,000; its design is that of Bengio et al., A Neural Probabilistic Language Model, 2003. The logits of
one batch fill 50 MB, so the loss is a good part of every training step. The rest is matrix products in
NumPy, with the gradients written out by hand.

At the end the script prints the held-out perplexity beside that of the unigram model, which knows only
how frequent each identifier is, and how long a step takes with fastxent and with plain NumPy. It runs
for about a minute on two cores:

    python examples/train_language_model.py
    python examples/train_language_model.py --plot curve.png
    python examples/train_language_model.py --loss naive    # the same training, on the NumPy loss
"""

import argparse
import contextlib
import re
import sysconfig
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tqdm import tqdm, trange

import fastxent
from fastxent import reference

LOSSES = {"fastxent": fastxent, "naive": reference}

SEED = 0
UNKNOWN = 0  # the class that stands for every identifier outside the vocabulary
VOCABULARY_SIZE = 25_000
MIN_VOCABULARY_SIZE = 20_000
CONTEXT_SIZE = 5
EMBEDDING_SIZE = 64
HIDDEN_SIZE = 128
BATCH_SIZE = 512
LEARNING_RATE = 0.1
N_HELD_OUT = 20_480
N_TIMED_STEPS = 9


class Corpus(NamedTuple):
    """Rows of consecutive words, as class numbers: a context, then the target in the last column."""

    train: np.ndarray
    held_out: np.ndarray
    unigram_log_probs: np.ndarray


class Step(NamedTuple):
    loss: float
    seconds: float
    loss_seconds: float


def read_standard_library() -> list[list[str]]:
    """Return the identifiers of each source file of the standard library, in reading order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(root.rglob("*.py")) if root / "site-packages" not in path.parents]
    files = []
    for path in tqdm(paths, desc="reading", unit="file"):
        # Some files of the standard library's tests are unreadable on purpose.
        with contextlib.suppress(OSError, UnicodeDecodeError):
            files.append(re.findall(r"\b[A-Za-z_]\w*", path.read_text(encoding="utf-8")))
    if len(files) < 2:
        raise SystemExit(f"No source files of the standard library in {root}.")
    return files


def assign_classes(files: list[list[str]]) -> dict[str, int]:
    """Give the most frequent words the classes from 1 on; every other word is UNKNOWN."""
    counts = Counter(word for file in files for word in file)
    classes = {word: n for n, (word, _) in enumerate(counts.most_common(VOCABULARY_SIZE - 1), start=1)}
    n_classes = len(classes) + 1
    if n_classes < MIN_VOCABULARY_SIZE:
        print(f"This standard library yields only {n_classes:,} classes, not {MIN_VOCABULARY_SIZE:,}.")
    return classes


def make_windows(files: list[list[str]], classes: dict[str, int]) -> np.ndarray:
    # Files are joined end to end: the few contexts that reach back into another file do no harm.
    words = np.array([classes.get(word, UNKNOWN) for file in files for word in file])
    return sliding_window_view(words, CONTEXT_SIZE + 1)


def load_corpus(rng: np.random.Generator) -> Corpus:
    """Hold out every tenth file; the vocabulary and its frequencies come from the others."""
    files = read_standard_library()
    train_files = [file for index, file in enumerate(files) if index % 10 != 0]
    classes = assign_classes(train_files)
    train = make_windows(train_files, classes)
    held_out = make_windows(files[::10], classes)
    held_out = held_out[rng.integers(len(held_out), size=N_HELD_OUT)]
    # Each class counts once more than it occurs, so that none has probability zero.
    counts = np.bincount(train[:, -1], minlength=len(classes) + 1) + 1
    return Corpus(train, held_out, np.log(counts / counts.sum()))


class Parameter:
    """An array trained with Adagrad: the larger an entry's past gradients, the smaller its steps."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value.astype(np.float32)
        self.squared_grads = np.full_like(self.value, 1e-6)

    def update(self, grad: np.ndarray, rows: np.ndarray | slice = slice(None)) -> None:
        self.squared_grads[rows] += grad * grad
        self.value[rows] -= LEARNING_RATE * grad / np.sqrt(self.squared_grads[rows])


class LanguageModel:
    """Embeddings of the context, side by side, through one hidden layer to a logit for every class."""

    def __init__(self, unigram_log_probs: np.ndarray, rng: np.random.Generator) -> None:
        n_classes = len(unigram_log_probs)
        n_inputs = CONTEXT_SIZE * EMBEDDING_SIZE
        self.embedding = Parameter(rng.normal(scale=0.1, size=(n_classes, EMBEDDING_SIZE)))
        self.hidden_weight = Parameter(rng.normal(scale=n_inputs**-0.5, size=(n_inputs, HIDDEN_SIZE)))
        self.hidden_bias = Parameter(np.zeros(HIDDEN_SIZE))
        self.output_weight = Parameter(rng.normal(scale=0.01, size=(HIDDEN_SIZE, n_classes)))
        # Training starts from the unigram model instead of having to learn it first.
        self.output_bias = Parameter(unigram_log_probs)

    def forward(self, contexts: np.ndarray) -> np.ndarray:
        """Return the logits, and keep what the backward pass needs."""
        self.contexts = contexts
        self.inputs = self.embedding.value[contexts].reshape(len(contexts), -1)
        self.hidden = np.tanh(self.inputs @ self.hidden_weight.value + self.hidden_bias.value)
        logits = self.hidden @ self.output_weight.value
        logits += self.output_bias.value
        return logits

    def backward(self, grad_logits: np.ndarray) -> None:
        """Carry the gradient back through the layers and update every parameter."""
        grad_hidden = (grad_logits @ self.output_weight.value.T) * (1 - self.hidden**2)
        grad_inputs = grad_hidden @ self.hidden_weight.value.T
        self.output_weight.update(self.hidden.T @ grad_logits)
        self.output_bias.update(grad_logits.sum(axis=0))
        self.hidden_weight.update(self.inputs.T @ grad_hidden)
        self.hidden_bias.update(grad_hidden.sum(axis=0))
        # A batch touches few embeddings; a word that occurs in it twice gets the sum of both gradients.
        rows, occurrences = np.unique(self.contexts, return_inverse=True)
        grad_rows = np.zeros((len(rows), EMBEDDING_SIZE), dtype=np.float32)
        np.add.at(grad_rows, occurrences.ravel(), grad_inputs.reshape(-1, EMBEDDING_SIZE))
        self.embedding.update(grad_rows, rows)


def draw_batch(windows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    batch = windows[rng.integers(len(windows), size=BATCH_SIZE)]
    return batch[:, :-1], batch[:, -1]


def train_step(model: LanguageModel, contexts: np.ndarray, targets: np.ndarray, loss_name: str) -> Step:
    start = perf_counter()
    logits = model.forward(contexts)
    loss_start = perf_counter()
    # The gradient overwrites the logits, which nothing needs any more.
    loss, grad = LOSSES[loss_name].cross_entropy_with_grad(logits, targets, grad_out=logits)
    loss_end = perf_counter()
    model.backward(grad)
    return Step(loss, perf_counter() - start, loss_end - loss_start)


def train(
    model: LanguageModel, windows: np.ndarray, n_steps: int, loss_name: str, rng: np.random.Generator
) -> list[float]:
    """Return the loss of every step."""
    losses = []
    progress = trange(n_steps, desc="training", unit="step")
    for _ in progress:
        contexts, targets = draw_batch(windows, rng)
        losses.append(train_step(model, contexts, targets, loss_name).loss)
        progress.set_postfix(loss=f"{losses[-1]:.3f}")
    return losses


def evaluate(model: LanguageModel, windows: np.ndarray) -> float:
    """Return the mean loss over all the windows, taken a batch at a time."""
    total = 0.0
    for start in range(0, len(windows), BATCH_SIZE):
        batch = windows[start : start + BATCH_SIZE]
        total += fastxent.cross_entropy(model.forward(batch[:, :-1]), batch[:, -1], reduction="sum")
    return total / len(windows)


def compare_losses(model: LanguageModel, windows: np.ndarray, rng: np.random.Generator) -> None:
    """Check that both losses agree, then train on with each in turn and print the median times."""
    contexts, targets = draw_batch(windows, rng)
    logits = model.forward(contexts)
    loss, grad = fastxent.cross_entropy_with_grad(logits, targets)
    naive_loss, naive_grad = reference.cross_entropy_with_grad(logits, targets)
    np.testing.assert_allclose(loss, naive_loss, rtol=1e-5)
    np.testing.assert_allclose(grad, naive_grad, rtol=1e-3, atol=1e-3 * np.abs(grad).mean())

    steps: dict[str, list[tuple[float, ...]]] = {name: [] for name in LOSSES}
    for _ in range(N_TIMED_STEPS):
        for name in LOSSES:
            steps[name].append(train_step(model, contexts, targets, name))
    print(f"\n{'':8}  {'step':>7}  {'loss':>7}  share")
    for name in LOSSES:
        _, step, loss = np.median(steps[name], axis=0)
        print(f"{name:8}  {step * 1e3:4.0f} ms  {loss * 1e3:4.0f} ms  {loss / step:5.0%}")


def plot_learning_curve(losses: list[float], held_out_loss: float, unigram_loss: float, path: Path) -> None:
    # Here because only --plot needs it.
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot(losses, label="training batch", linewidth=1)
    axes.axhline(unigram_loss, label="unigram model, held-out", color="gray", linestyle=":")
    axes.axhline(held_out_loss, label="trained model, held-out", color="black", linestyle="--")
    axes.set(title="Next-identifier language model", xlabel="step", ylabel="cross-entropy (nats)")
    axes.legend()
    figure.savefig(path)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a language model on the standard library's source.")
    parser.add_argument("--loss", choices=LOSSES, default="fastxent", help="loss to train with")
    parser.add_argument("--steps", type=positive, default=300, help="number of training steps")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save the learning curve to FILE")
    args = parser.parse_args()
    if args.plot and not args.plot.parent.is_dir():
        parser.error(f"--plot: there is no folder {args.plot.parent}")

    rng = np.random.default_rng(SEED)
    corpus = load_corpus(rng)
    print(f"{len(corpus.train):,} identifiers to train on, {len(corpus.unigram_log_probs):,} classes")
    model = LanguageModel(corpus.unigram_log_probs, rng)
    losses = train(model, corpus.train, args.steps, args.loss, rng)
    held_out_loss = evaluate(model, corpus.held_out)
    unigram_loss = -corpus.unigram_log_probs[corpus.held_out[:, -1]].mean()
    print(f"mean training loss of the last 50 steps: {np.mean(losses[-50:]):.5f}")
    print(f"held-out perplexity: {np.exp(held_out_loss):.1f}, unigram model: {np.exp(unigram_loss):.1f}")
    compare_losses(model, corpus.train, rng)
    if args.plot:
        plot_learning_curve(losses, held_out_loss, unigram_loss, args.plot)


if __name__ == "__main__":
    main()
