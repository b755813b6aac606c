"""Machine code on disk, lost, damaged, of other sources or written by two at once, changes no result."""

import errno
import os
import shutil
import threading
import time
import warnings

import numba
import numpy as np
import pytest
from numba import njit, prange, types
from numba.core.caching import NullCache

from fastxent import cpu
from fastxent.cpu import cache
from fastxent.cpu.compile import Kernel
from tests.processes import PACKAGE, finish, run, start

pytestmark = pytest.mark.slow


def double(values, out):
    for i in prange(values.size):
        out[i] = values[i] + values[i]


def new_process_doubles(dtype=np.float32):
    """A kernel that knows of no machine code but what is on disk, and the number of its compilations."""
    kernel, values = Kernel(double, ("out",)), np.arange(5, dtype=dtype)
    out = np.empty_like(values)
    kernel((False, values.dtype.num), values, out)
    assert np.array_equal(out, values + values)
    return sum(kernel.dispatcher(False).stats.cache_misses.values())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache that is empty, in a process that has not warned."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_has_warned", False)
    return tmp_path / "cache"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_machine_code_is_found_again_for_each_signature(folder):
    assert [new_process_doubles(dtype) for dtype in (np.float32, np.float64) * 2] == [1, 1, 0, 0]
    assert len(files(folder)) == 2
    shutil.rmtree(folder)
    assert [new_process_doubles() for _ in range(2)] == [1, 0]


def test_no_file_is_read_or_written_where_the_cache_is_turned_off(folder, monkeypatch):
    monkeypatch.setenv("FASTXENT_CACHE", "0")
    assert new_process_doubles() == 1
    assert files(folder) == []
    monkeypatch.delenv("FASTXENT_CACHE")
    assert [new_process_doubles() for _ in range(2)] == [1, 0]
    monkeypatch.setenv("FASTXENT_CACHE", "0")
    assert new_process_doubles() == 1


def flipped(at):
    def damage(contents):
        i = int(at * (len(contents) - 1))
        return contents[:i] + bytes([contents[i] ^ 16]) + contents[i + 1 :]

    return damage


DAMAGES = {
    "empty": lambda contents: b"",
    "the digest alone": lambda contents: contents[:32],
    "half": lambda contents: contents[: len(contents) // 2],
    "longer": lambda contents: contents + b"0",
    "noise": lambda contents: np.random.default_rng(0).bytes(len(contents)),
    **{f"a bit at {at}": flipped(at) for at in (0.0, 0.1, 0.4, 0.6, 0.9, 1.0)},
}


def test_a_damaged_file_is_compiled_anew_without_a_word(folder):
    new_process_doubles()
    (file,) = files(folder)
    whole = file.read_bytes()
    for name, damage in DAMAGES.items():
        file.write_bytes(damage(whole))
        assert new_process_doubles() == 1, name
        assert new_process_doubles() == 0, name


def test_a_full_disk_is_warned_of_once_and_leaves_nothing(folder):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            compilations = [new_process_doubles(dtype) for dtype in (np.float32, np.float64, np.float32)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert compilations == [1, 1, 1]
    assert [(w.category, "machine code is not kept" in str(w.message)) for w in caught] == [
        (RuntimeWarning, True)
    ]
    assert files(folder) == []
    assert [new_process_doubles() for _ in range(2)] == [1, 0]


def test_a_file_that_cannot_be_read_or_replaced_is_warned_of_once(folder):
    new_process_doubles()
    (file,) = files(folder)
    file.unlink()
    (file / "in the way").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="machine code is not kept") as caught:
        assert [new_process_doubles() for _ in range(2)] == [1, 1]
    assert len(caught) == 1


def test_a_file_that_cannot_be_replaced_while_it_is_read_is_not_warned_of(folder, monkeypatch):
    """So it is on Windows, where several processes compile the same at once."""
    signature = (types.Array(types.float32, 1, "C"),) * 2
    function = njit(double)
    function.compile(signature)

    def save():
        cache.cache_for(double).save_overload(signature, function.overloads[signature])

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "in use", target)

    save()
    monkeypatch.setattr(os, "replace", refuse)
    save()
    (file,) = files(folder)
    file.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="in use"):
        save()
    assert files(folder) == [file]


def test_names_are_short_enough_for_the_deep_folders_of_windows(folder):
    """260 characters end in NUL; in Python from its store the folder of a user "someone" takes 165."""
    longest_name_of_a_user, temporary = 20, len(".tmp.0123456789abcdef")
    room = 260 - len("\0") - (165 - len("someone") + longest_name_of_a_user) - len("\\") - temporary
    for kernel in vars(cpu).values():
        if isinstance(kernel, Kernel):
            name = cache.cache_for(kernel._new_dispatcher(True).py_func)._cache_file._path("key").name
            assert len(name) <= room, name


def test_where_no_source_tells_versions_apart_nothing_is_kept(monkeypatch):
    """As in an archive."""
    monkeypatch.setattr(cache, "_sources", list)
    assert isinstance(cache.cache_for(double), NullCache)
    digest = cache.source_digest.__wrapped__
    assert digest() != digest()


def test_a_source_changed_after_the_import_is_told_from_one_of_the_future(tmp_path, monkeypatch):
    source, digest = tmp_path / "source.py", cache.source_digest.__wrapped__
    source.write_text("")
    os.utime(source, (time.time() + 7200,) * 2)
    monkeypatch.setattr(cache, "_sources", lambda: [source])
    monkeypatch.setattr(cache, "_IMPORTED", time.time())
    assert digest() == digest()
    time.sleep(0.05)
    source.write_text("")
    assert digest() != digest()


def test_signatures_saved_at_once_are_not_found_under_each_others_names(folder):
    signatures = [(types.Array(t, 1, "C"), types.Array(t, 1, "C")) for t in (types.float32, types.int64)]
    compiled = []
    for signature in signatures:
        function = njit(double)
        function.compile(signature)
        compiled.append(function.overloads[signature])
    context = function.targetctx
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        together = threading.Barrier(2)

        def save(signature, compiled, together=together):
            writer = cache.cache_for(double)
            together.wait()
            writer.save_overload(signature, compiled)

        writers = [
            threading.Thread(target=save, args=pair) for pair in zip(signatures, compiled, strict=True)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        for signature in signatures:
            found = cache.cache_for(double).load_overload(signature, context)
            assert found is not None
            assert found.signature.args == signature


SIGMOIDS = """
import sys, numpy as np, fastxent
for dtype in sys.argv[1:]:
    print(fastxent.sigmoid(np.ones(3, dtype))[0])
"""
BOTH = "float32", "float64"
OF_BOTH = "0.7310586\n0.7310585786300049\n"


@pytest.mark.exhaustive
def test_two_processes_fill_the_cache_at_once(tmp_path):
    both = [start(SIGMOIDS, *dtypes, NUMBA_CACHE_DIR=str(tmp_path)) for dtypes in (BOTH, BOTH)]
    assert [finish(process) for process in both] == [(OF_BOTH, "")] * 2
    assert len(files(tmp_path)) == 2
    assert run(SIGMOIDS, *BOTH, NUMBA_CACHE_DIR=str(tmp_path)) == (OF_BOTH, "")
    assert len(files(tmp_path)) == 2


@pytest.fixture
def release(tmp_path):
    """A copy of the package."""
    root = tmp_path / "release"
    shutil.copytree(PACKAGE, root / "fastxent", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_nowhere_to_write_is_warned_of_once(release):
    (release / "fastxent" / "cpu" / "__pycache__").write_text("")
    no_folder = str(release / "fastxent" / "py.typed")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), no_folder + "/none")
    out, errors = run(SIGMOIDS, *BOTH, root=release, PYTHONDONTWRITEBYTECODE="1", **nowhere)
    assert out == OF_BOTH
    assert errors.count("RuntimeWarning: machine code is not kept") == 1


def test_a_change_in_a_file_of_other_files_is_not_answered_from_the_cache(release, tmp_path):
    """In the lowest layer: Numba looks at the file of the batch loop alone."""

    def sigmoid():
        out, errors = run(SIGMOIDS, "float32", root=release, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert not errors
        return out

    before = sigmoid()
    changed = release / "fastxent" / "simd" / "elementary.py"
    old = changed.read_bytes()
    new = old.replace(b"exp=(1.0, 1.0, 0.499999934,", b"exp=(3.0, 1.0, 0.499999934,")
    assert new != old
    changed.write_bytes(new)
    assert sigmoid() != before == "0.7310586\n"
    kept = files(tmp_path / "cache")
    changed.write_bytes(old)
    assert sigmoid() == before
    assert files(tmp_path / "cache") == kept, "an unchanged release was compiled again"


UPGRADED = """
import numpy as np, fastxent
from pathlib import Path
kernel = Path(fastxent.__file__).parent / "cpu" / "sigmoid_blocks.py"
kernel.write_bytes(kernel.read_bytes().replace(b"1.0) / (1.0 + e)", b"2.0) / (1.0 + e)"))
print(fastxent.sigmoid(np.ones(3, np.float32))[0])
"""


@pytest.mark.exhaustive
def test_what_was_imported_before_an_upgrade_is_not_found_after_it(release, tmp_path):
    """What is in memory is compiled, and is not to be taken for what is on the disk."""
    where = {"root": release, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    old, _ = run(UPGRADED, **where)
    new, _ = run(SIGMOIDS, "float32", **where)
    assert (float(old), float(new)) == (0.7310586, 1.4621172)


USER = """
import numba, fastxent

@numba.njit(cache=True)
def loss_of(logits, target):
    return fastxent.cross_entropy(logits, target)
"""
LOSSES = """
import numpy as np, fastxent
from user import loss_of

logits = np.array([0, 1, 2], np.float32)
print(loss_of(logits, 0), fastxent.cross_entropy(logits, 0), sum(loss_of.stats.cache_hits.values()))
"""


@pytest.mark.exhaustive
def test_a_users_cached_function_is_compiled_anew_after_an_upgrade_of_any_file(release, tmp_path):
    """Of the kernel, and of what is compiled into the function itself."""
    (release / "user.py").write_text(USER)

    def losses():
        out, _ = run(LOSSES, root=release, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        compiled, called, hits = out.split()
        return float(compiled), float(called), int(hits)

    def upgrade(module, old, new):
        source = (release / "fastxent" / module).read_text(encoding="utf-8")
        assert source.count(old) == 1
        (release / "fastxent" / module).write_text(source.replace(old, new), encoding="utf-8")

    first, *others = losses()
    assert others == [first, 0]
    assert losses() == (first, first, 1)
    upgrade("simd/elementary.py", "exp=(1.0, 1.0, 0.499999934,", "exp=(3.0, 1.0, 0.499999934,")
    second, *others = losses()
    assert others == [second, 0]
    assert second != first
    upgrade("_njit_arrays.py", "loss_out):\n    return loss\n", "loss_out):\n    return 2.0 * loss\n")
    assert losses() == (2 * second, second, 0)
