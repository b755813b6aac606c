"""Train the same PyTorch model with PyTorch's loss and with fastxent's: the same curve in less time.

A recurrent network reads the English of Python's own manual (`help("topics")`) and predicts each next word
or sign, out of all that occur in it. From one seed it is trained three times: with
torch.nn.functional.cross_entropy, with that of fastxent.torch, and with the latter in place. The losses of
all steps must agree, and the time of a step is printed. It runs for less than a minute on two cores:

    python examples/train_torch.py
"""

import argparse
import pydoc_data.topics
import re
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

import fastxent.torch

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "torch.nn.functional": F.cross_entropy,
    "fastxent.torch": fastxent.torch.cross_entropy,
    "fastxent.torch, in place": partial(fastxent.torch.cross_entropy, inplace=True),
}

SEED = 0
EMBEDDING_SIZE = 48
HIDDEN_SIZE = 64
BATCH_SIZE = 64
LENGTH = 24  # words in a row
LEARNING_RATE = 5e-3
TOLERANCE = 1e-3
"""Relative; rounding differs between the losses, and every step carries it on to the next."""


class Text(NamedTuple):
    words: Tensor  # numbers of words, in reading order
    n_distinct: int


class Step(NamedTuple):
    loss: float
    seconds: float


class LanguageModel(nn.Module):
    """Embeddings through one recurrent layer to a logit for every word, at every place."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, EMBEDDING_SIZE)
        self.recurrent = nn.GRU(EMBEDDING_SIZE, HIDDEN_SIZE, batch_first=True)
        self.output = nn.Linear(HIDDEN_SIZE, n_words)

    def forward(self, words: Tensor) -> Tensor:
        hidden, _ = self.recurrent(self.embedding(words))
        logits: Tensor = self.output(hidden)
        return logits


def read_manual() -> Text:
    manual = " ".join(pydoc_data.topics.topics.values())
    words = re.findall(r"\w+|[^\w\s]", manual)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return Text(torch.tensor([numbers[word] for word in words]), len(numbers))


def draw_batch(text: Text, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return stretches of the text, and the words that follow at each of their places."""
    starts = torch.randint(len(text.words) - LENGTH, (BATCH_SIZE, 1), generator=generator)
    stretches = text.words[starts + torch.arange(LENGTH + 1)]
    return stretches[:, :-1], stretches[:, 1:]


def train(loss_of: Loss, text: Text) -> Iterator[Step]:
    """Train a model from the seed, a step whenever one is asked for."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = LanguageModel(text.n_distinct)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    while True:
        start = perf_counter()
        words, next_words = draw_batch(text, generator)
        logits = model(words).view(-1, text.n_distinct)
        loss = loss_of(logits, next_words.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Step(loss.item(), perf_counter() - start)


def train_in_turn(text: Text, n_steps: int) -> dict[str, list[Step]]:
    """Train a model with each loss, in turn so that whatever else the machine does slows down all."""
    trainings = {name: train(loss, text) for name, loss in LOSSES.items()}
    taken: dict[str, list[Step]] = {name: [] for name in LOSSES}
    for _ in trange(n_steps, desc="training", unit="step"):
        for name, training in trainings.items():
            taken[name].append(next(training))
    return taken


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a PyTorch model with PyTorch's loss and fastxent's.")
    parser.add_argument("--steps", type=positive, default=60, help="number of training steps with each loss")
    args = parser.parse_args()

    text = read_manual()
    print(f"{len(text.words):,} words to read, {text.n_distinct:,} of them distinct")
    next(train(fastxent.torch.cross_entropy, text))  # compiles
    trainings = train_in_turn(text, args.steps)
    expected = [step.loss for step in trainings["torch.nn.functional"]]
    print(f"{'':24}  first loss   last loss   median step")
    for name, steps in trainings.items():
        curve, milliseconds = [step.loss for step in steps], 1e3 * median(step.seconds for step in steps)
        print(f"{name:24}  {curve[0]:10.5f}  {curve[-1]:10.5f}  {milliseconds:9.0f} ms")
        np.testing.assert_allclose(curve, expected, rtol=TOLERANCE)


if __name__ == "__main__":
    main()
