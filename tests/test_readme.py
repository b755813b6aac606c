"""What README and CONTRIBUTING show can be typed in as it stands there, from top to bottom."""

import platform
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastxent import cross_entropy_with_grad, reference
from tests.processes import run
from tests.tolerances import OPTIONS_RELATIVE

pytestmark = pytest.mark.slow

README = Path(__file__).parent.parent / "README.md"


def examples_in(document):
    return re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)


EXAMPLES = examples_in(README)


def test_the_examples_run_one_after_another_and_what_they_assert_holds():
    assert len(EXAMPLES) >= 6
    names: dict = {}
    for example in EXAMPLES:
        if "torch" not in example or find_spec("torch"):
            exec(compile(example, README.name, "exec"), names)


class Labels:
    """What XGBoost hands to an objective."""

    def __init__(self, classes, weights):
        self.classes, self.weights = classes, weights

    def get_label(self):
        return self.classes.astype(np.float32)

    def get_weight(self):
        return self.weights


@pytest.mark.parametrize("weights", [[], [1.0, 0.5, 2.0, 0.0]], ids=["no weights", "weights"])
def test_the_objective_for_boosters_is_that_of_multi_softprob(weights):
    (block,) = (example for example in EXAMPLES if "def softprob" in example)
    names: dict = {"np": np, "cross_entropy_with_grad": cross_entropy_with_grad}
    exec(compile(block, README.name, "exec"), names)
    margins = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    classes = np.array([0, 2, 1, 1])
    grad, hess = names["softprob"](margins, Labels(classes, np.array(weights, np.float32)))
    p, w = reference.softmax(margins.astype(np.float64)), np.array(weights or [1.0] * 4)[:, None]
    absolute = OPTIONS_RELATIVE[np.dtype(np.float32)] * 2 * w.max()
    np.testing.assert_allclose(grad, w * (p - np.eye(3)[classes]), rtol=0, atol=absolute)
    np.testing.assert_allclose(hess, np.maximum(2 * w * p * (1 - p), 1e-16), rtol=0, atol=absolute)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction to look for is x86's")
def test_what_contributing_shows_finds_the_loop_of_a_kernel_and_tells_perf_its_name(tmp_path):
    program = "\n".join([*examples_in(README.with_name("CONTRIBUTING.md")), "print(assembly, names.name)"])
    assembly, path = run(program, NUMBA_CACHE_DIR=str(tmp_path))[0].rsplit(maxsplit=1)
    names = Path(path).read_text()
    Path(path).unlink()
    assert "vpslld" in assembly
    assert re.fullmatch("[0-9a-f]+ 8000 cross_entropy_rows\n", names)
