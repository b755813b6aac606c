"""What the examples train is as good as they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastxent
from tests.tolerances import UNTRAINED_RELATIVE, relatively

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "accuracy"), [("linear", 0.93), ("hidden layer", 0.96)])
def test_19_gradient_descent_with_p_less_y_classifies_real_digits(name, accuracy):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, of the extra 'examples'")
    digits = load("train_digits")
    result = digits.train_and_evaluate(name, digits.load_data())
    assert result.accuracy >= accuracy
    assert result.loss < 0.3


def test_a_network_trained_inside_one_compiled_function_tells_real_wines_apart():
    pytest.importorskip("sklearn", reason="the wines come with scikit-learn, of the extra 'examples'")
    wines = load("train_njit")
    result = wines.train_and_evaluate(wines.load_data())
    assert result.accuracy >= 0.95
    assert result.losses[-1] < 0.01 < result.losses[0]


def test_a_torch_model_learns_the_same_from_our_loss_as_from_torchs(monkeypatch):
    pytest.importorskip("torch", reason="of the extra 'torch'")
    example = load("train_torch")
    monkeypatch.setattr(example, "BATCH_SIZE", 4)
    text = example.read_manual()
    few = example.Text(text.words[:500], text.n_distinct)
    trainings = example.train_in_turn(few, 4)
    curves = [[step.loss for step in steps] for steps in trainings.values()]
    assert curves[0][-1] < 0.97 * curves[0][0]
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=example.TOLERANCE)


def test_the_gpu_is_picked_only_where_there_is_one_and_the_cpu_learns_as_well():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, of the extra 'examples'")
    example = load("pick_the_gpu")
    if not fastxent.cuda.is_available():
        assert example.pick("best").name == "cpu"
        with pytest.raises(RuntimeError, match="no GPU"):
            example.pick("gpu")
    result = example.train(example.pick("cpu"))
    assert result.accuracy >= 0.9
    assert result.losses[-1] < 0.3 < result.losses[0]


def test_a_language_model_learns_which_word_follows_two_others(monkeypatch):
    pytest.importorskip("tqdm", reason="of the extra 'examples'")
    example = load("train_language_model")
    monkeypatch.setattr(example, "BATCH_SIZE", 64)
    rng, n_words = np.random.default_rng(0), 30
    contexts = rng.integers(0, n_words, (2000, example.CONTEXT_SIZE))
    windows = np.column_stack([contexts, (contexts[:, -1] + 1) % n_words])
    model = example.LanguageModel(np.full(n_words, -np.log(n_words)), rng)
    losses = example.train(model, windows, 100, "fastxent", rng)
    assert losses[0] == relatively(np.log(n_words), UNTRAINED_RELATIVE)
    assert example.evaluate(model, windows) < 0.2
