"""Bad input to the losses for PyTorch raises what PyTorch raises."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="of the extra 'torch'")

from fastxent import torch as ours  # noqa: E402
from tests.torch_measure import BINARIES, CROSS_ENTROPIES, outcome, problem  # noqa: E402

LOGITS, Y, SOFT, WEIGHT = problem(torch.float32)
BAD = [
    (LOGITS, Y + 7),
    (LOGITS, Y - 3),
    (LOGITS, Y[:5]),
    (LOGITS, Y[:, None]),
    (LOGITS[..., None], Y),
    (LOGITS[..., None, None], Y[:, None]),
    (LOGITS[..., None], Y[:, None].repeat(1, 2)),
    (LOGITS, SOFT.long()),
    (LOGITS, SOFT[:, 0]),
    (LOGITS, Y >= 0),
    (LOGITS, SOFT.to(torch.complex64)),
    (LOGITS[0, 0], Y[0]),
    (LOGITS.long(), Y),
    (LOGITS.to(torch.complex64), Y),
    (LOGITS.to_sparse(), Y),
    (LOGITS.numpy(), Y),
    (LOGITS, [1, 2]),
    (LOGITS, Y, WEIGHT[:5]),
    (LOGITS, Y, WEIGHT[None]),
    (LOGITS, Y, WEIGHT.double()),
    (LOGITS, Y, WEIGHT.clone().requires_grad_()),
    (LOGITS, Y, [1.0] * 7),
    (LOGITS, Y, {"label_smoothing": 1.5}),
    (LOGITS, Y, {"label_smoothing": "a"}),
    (LOGITS, Y, {"label_smoothing": np.array([0.1])}),
    (LOGITS, Y, {"ignore_index": 1.0}),
    (LOGITS, Y, {"ignore_index": 2**70}),
    (LOGITS, Y, {"reduction": "average"}),
    (LOGITS, Y, {"reduction": None}),
    (LOGITS, SOFT, {"ignore_index": 1}),
    (LOGITS, SOFT, {"ignore_index": -100.0}),
]
BAD_BINARY = [
    (LOGITS, SOFT[0]),
    (LOGITS, SOFT.long()),
    (LOGITS, SOFT > 0),
    (LOGITS.long(), SOFT),
    (LOGITS, SOFT, WEIGHT[:3]),
    (LOGITS, SOFT, WEIGHT.expand(2, 6, 7)),
    (LOGITS, SOFT, {"pos_weight": WEIGHT[:3]}),
    (LOGITS, SOFT, {"pos_weight": WEIGHT.clone().requires_grad_()}),
    (LOGITS, SOFT, {"reduction": "average"}),
    (LOGITS, [1, 2]),
]


@pytest.mark.parametrize(
    ("pair", "arguments"), [(CROSS_ENTROPIES, bad) for bad in BAD] + [(BINARIES, bad) for bad in BAD_BINARY]
)
def test_bad_input_raises_what_torch_raises(pair, arguments):
    arguments, options = (
        (arguments[:-1], last) if isinstance(last := arguments[-1], dict) else (arguments, {})
    )
    results = [outcome(function, *arguments, **options) for function in pair]
    assert isinstance(results[1], type), "PyTorch does not raise"
    assert results[0] is results[1]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("logits", [(5,), (1, 5), (4, 4), (4, 5, 3)], ids=str)
def test_class_indices_of_any_shape_give_or_raise_what_they_do_with_torch(logits, inplace):
    """Also where a loss has no gradient: PyTorch takes one class index beside one row, and not back."""
    for shape in [(), (1,), (4,), (5,), (4, 1), (1, 4), (4, 5), (4, 3), (1, 1), (4, 5, 3), (0,)]:
        results = []
        for function, options in zip(CROSS_ENTROPIES, ({"inplace": inplace}, {}), strict=True):
            z, y = torch.zeros(logits, requires_grad=True) + 1.0, torch.zeros(shape, dtype=torch.int64)
            try:
                results.append(round(function(z, y, **options).item(), 5))
            except Exception as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1], shape


@pytest.mark.parametrize("name", ["size_average", "reduce"])
@pytest.mark.parametrize(
    "function",
    [
        lambda **options: ours.cross_entropy(LOGITS, Y, **options),
        lambda **options: ours.binary_cross_entropy_with_logits(LOGITS, SOFT, **options),
        ours.CrossEntropyLoss,
        ours.BCEWithLogitsLoss,
    ],
)
def test_deprecated_arguments_are_refused(function, name):
    with pytest.raises(TypeError, match=f"{name} is deprecated"):
        function(**{name: False})


def test_a_class_that_int64_cannot_hold_does_not_wrap_to_one_that_is_ignored():
    y = torch.tensor([0, 2**64 - 100, 1, 1, 1, 1], dtype=torch.uint64)
    with pytest.raises(IndexError, match="18446744073709551516"):
        ours.cross_entropy(LOGITS, y)
    with pytest.raises(IndexError):
        ours.cross_entropy(LOGITS, y, -WEIGHT)  # by PyTorch, for which there are no negative ones here
    with pytest.raises(IndexError):
        torch.func.grad(lambda z: ours.cross_entropy(z, y))(LOGITS)
