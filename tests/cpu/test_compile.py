"""Kernels are compiled once a dtype, and a change of any source file finds no old machine code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastxent
from fastxent import cpu

PACKAGE = Path(fastxent.__file__).parent

PROGRAM = """
import numpy as np, fastxent
print(fastxent.softmax(np.array([0.0, 1.0]))[1])
"""


def run_copy(root, cache):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_a_change_in_an_inlined_file_is_not_answered_from_the_cache(tmp_path):
    root, cache = tmp_path / "release", tmp_path / "cache"
    shutil.copytree(PACKAGE, root / "fastxent", ignore=shutil.ignore_patterns("__pycache__"))
    before = run_copy(root, cache)
    assert before == fastxent.softmax(np.array([0.0, 1.0]))[1]
    changed = root / "fastxent" / "cpu" / "likelihood.py"
    old = changed.read_text()
    new = old.replace("1.0 / total, math.nan", "3.0 / total, math.nan")
    assert new != old
    changed.write_text(new)
    assert run_copy(root, cache) == pytest.approx(3 * before)
    changed.write_text(old)
    files = sorted(cache.rglob("*.nbi"))
    assert run_copy(root, cache) == before
    assert sorted(cache.rglob("*.nbi")) == files, "an unchanged release was compiled again"


def test_no_layout_compiles_a_kernel_anew():
    targets = np.zeros(3, np.int64)
    fastxent.cross_entropy(np.zeros((3, 5), np.float32), targets)
    dispatcher = cpu.cross_entropy_lanes.dispatcher(False)
    before = len(dispatcher.overloads)
    read_only = np.zeros((3, 5), np.float32)
    read_only.flags.writeable = False
    for logits in (read_only, np.zeros((5, 3), np.float32).T, np.zeros((6, 10), np.float32)[::2, ::2]):
        fastxent.cross_entropy(logits, targets)
    assert len(dispatcher.overloads) == before
