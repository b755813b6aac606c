"""Machine code on disk, which costs nothing but time if it is lost, damaged or of another version.

Numba's own cache looks at the file of a batch loop alone, not at the files of what it inlines; processes that
write at once can leave the code for one signature under the name of another; and every error of the file
system is the caller's.
"""

import hashlib
import os
import pickle
import time
import warnings
from functools import cache
from pathlib import Path

from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.runtime.nrt import rtsys

_IMPORTED = time.time()
_DIGEST_BYTES = 32
_has_warned = False


@cache
def source_digest() -> str:
    """Names the package's sources, so that cached machine code of another version is never found.

    If a file changed after the import, the kernels in memory are of no sources on the disk.
    """
    digest, now = hashlib.sha256(), time.time()
    for path in _sources():
        digest.update(path.read_bytes())
        status = path.stat()
        if any(_IMPORTED < changed <= now for changed in (status.st_mtime, status.st_ctime)):
            digest.update(os.urandom(_DIGEST_BYTES))
    if not _sources():
        digest.update(os.urandom(_DIGEST_BYTES))
    return digest.hexdigest()[:12]


@cache
def _sources():
    """Empty where the package is in an archive, or has been compiled and its sources left out."""
    return sorted(Path(__file__).parent.parent.rglob("*.py"))


def cache_for(loop):
    """Numba's interface to the files of a batch loop; none if FASTXENT_CACHE is 0, or nothing names them."""
    if os.environ.get("FASTXENT_CACHE") == "0" or not _sources():
        return NullCache()
    try:
        return _Cache(loop)
    except (OSError, RuntimeError) as error:  # there is no directory that can be written
        _warn_once(error)
        return NullCache()


class _Cache(FunctionCache):
    """Loads without all that Numba imports to compile, which takes ten times as long."""

    def __init__(self, loop):
        super().__init__(loop)
        self._cache_file = _Files(self._cache_path, loop.__name__, self._impl.filename_base)

    def load_overload(self, signature, target_context):
        rtsys.initialize(target_context)
        return self._load_overload(signature, target_context)

    def save_overload(self, signature, compiled):
        try:
            self._save_overload(signature, compiled)
        except OSError as error:
            _warn_once(error)


class _Files(IndexDataCacheFile):
    """One for each signature and processor, with the digest of its contents in front; there is no index.

    Names are short: Windows takes no path of 260 characters, and those of Python from its store have some 165
    before the name.
    """

    def __init__(self, folder, name, full_name):
        super().__init__(folder, name, None)
        self._name, self._full_name = name, full_name

    def save(self, key, compiled):
        contents = self._dump(compiled)
        try:
            with self._open_for_write(self._path(key)) as file:
                file.write(_digest(contents) + contents)
        except PermissionError:
            # Windows replaces no file that is open: another process reads what was just written.
            if self.load(key) is None:
                raise

    def load(self, key):
        try:
            written = self._path(key).read_bytes()
        except OSError:
            return None
        digest, contents = written[:_DIGEST_BYTES], written[_DIGEST_BYTES:]
        return pickle.loads(contents) if digest == _digest(contents) else None

    def _path(self, key):
        digest = _digest(repr((self._full_name, self._version, key)).encode()).hex()[:16]
        return Path(self._cache_path, f"{self._name}.{digest}.nbc")


def _digest(contents):
    return hashlib.sha256(contents).digest()


def _warn_once(error):
    global _has_warned
    if not _has_warned:
        _has_warned = True
        warnings.warn(f"machine code is not kept for the next process: {error}", RuntimeWarning, stacklevel=2)
