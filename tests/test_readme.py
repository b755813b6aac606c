"""What the README shows can be typed in as it stands there, from top to bottom."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_examples_run_one_after_another_and_what_they_assert_holds():
    assert len(EXAMPLES) >= 6
    names: dict = {}
    for example in EXAMPLES:
        if "torch" not in example or find_spec("torch"):
            exec(compile(example, README.name, "exec"), names)
