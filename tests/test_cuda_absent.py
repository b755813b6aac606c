"""Without CUDA all else works, nothing of it is imported, and who asks for it learns what to install."""

import subprocess
import sys

import numpy as np
import pytest

import fastxent

ON_THE_CPU = """
import sys
import numpy as np
import fastxent
logits = np.zeros((3, 5), np.float32)
fastxent.cross_entropy_with_grad(logits, np.zeros(3, int), z_loss=0.1)
fastxent.softmax(logits)
fastxent.cuda  # the module itself
assert "numba.cuda" not in sys.modules
"""

NO_PACKAGE = """
import sys
sys.modules["numba.cuda"] = None  # as if it were not installed
import fastxent
assert fastxent.cuda.is_available() is False
try:
    fastxent.cuda.to_device([1.0])
except ImportError as error:
    assert "fastxent[cuda12]" in str(error), error
else:
    raise AssertionError("moved to nowhere")
"""


def test_calls_on_the_cpu_import_nothing_of_cuda():
    subprocess.run([sys.executable, "-c", ON_THE_CPU], check=True)


def test_without_a_package_the_error_says_what_to_install():
    subprocess.run([sys.executable, "-c", NO_PACKAGE], check=True)


def test_without_a_gpu_the_error_says_so():
    if fastxent.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"no GPU that numba.cuda can use.*fastxent\[cuda12\]"):
        fastxent.cuda.to_device(np.zeros(3))


def test_no_other_name_is_made_up():
    assert not hasattr(fastxent, "cuba")
