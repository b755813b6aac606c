"""Rows that are summed, solved and finished a few at a time: each is as it would be alone."""

import itertools

import numpy as np
import pytest

import fastxent
from fastxent.cpu.slots import SLOTS
from tests.layouts import spaced
from tests.measure import assert_same_bits
from tests.mixes import MIXES, problem, solve

pytestmark = pytest.mark.slow

PATTERNS = {
    "all read": lambda i: np.ones_like(i, bool),
    "none read": lambda i: np.zeros_like(i, bool),
    "every other": lambda i: i % 2 == 1,
    "runs": lambda i: i // SLOTS % 2 == 0,
    "first and last": lambda i: (i == 0) | (i == i.max()),
    "scattered": lambda i: (i * 7 + 3) % 5 > 1,
}


def rows_alone(mix, logits, targets, options):
    """Every result of each row, from a call for that row."""
    results = []
    for i in range(len(logits)):
        own = {**options, "sample_weight": options["sample_weight"][i : i + 1]}
        results.append(solve(fastxent, mix, logits[i : i + 1], targets[i : i + 1], own))
    return {name: np.concatenate([row[name] for row in results]) for name in results[0] if name != "loss"}


@pytest.mark.parametrize("layout", [np.copy, spaced], ids=["side by side", "classes apart"])
@pytest.mark.parametrize("n_classes", [64, 1500, 8200])
@pytest.mark.parametrize(
    "name", ["all with Hessian", "all soft", pytest.param("soft", marks=pytest.mark.exhaustive)]
)
def test_a_row_is_as_it_would_be_alone_whichever_others_are_read(name, n_classes, layout):
    mix, n_rows = MIXES[name], 2 * SLOTS + 3
    logits, targets, options = problem(mix, n_rows, n_classes, np.float32, masks=False)
    targets = np.maximum(targets, 0)
    options |= {"sample_weight": np.linspace(0.5, 2, n_rows), "normalizer": 1.0}
    alone = rows_alone(mix, logits, targets, options)
    for pattern in PATTERNS.values():
        read = pattern(np.arange(n_rows))
        weights = np.where(read, options["sample_weight"], 0)
        results = solve(
            fastxent,
            mix,
            layout(logits),
            layout(targets) if mix.soft else targets,
            {**options, "sample_weight": weights},
            grad_out=layout(np.full_like(logits, np.nan)),
        )
        for output, expected in alone.items():
            unread = n_classes if output == "rank_out" else 0
            assert_same_bits(results[output][read], expected[read])
            assert (results[output][~read] == unread).all(), output


@pytest.mark.parametrize("n_classes", [100, 1100, 2047, 3000, 4096, 5000])
def test_the_largest_logit_counts_wherever_it_is_in_a_row(n_classes):
    """It is found on the way through another row; without it, exponentials would overflow."""
    in_last_block = n_classes % 2048
    seams = [range(end - 70, end) for end in (in_last_block, n_classes) if end > 70]
    places = np.unique([0, 15, 16, 63, 64, n_classes // 2, *itertools.chain(*seams)])
    logits = np.zeros((len(places), n_classes), np.float32)
    logits[np.arange(len(places)), places] = 200
    losses, grad = fastxent.cross_entropy_with_grad(logits, (places + 1) % n_classes, reduction="none")
    assert losses.tolist() == len(places) * [200]
    assert (grad[np.arange(len(places)), places] == 1).all()
