"""Numbers as kernels store them."""

import numpy as np
import pytest

from fastxent.cuda import package, to_device
from fastxent.cuda.launch import launch
from tests.cuda.moved import to_host

HIGH = [0x0000, 0x0001, 0x007F, 0x0080, 0x3F7F, 0x3F80, 0x7F7E, 0x7F7F, 0x7F80, 0x7F81, 0x7FC0]
"""Zero, subnormals, one, the largest numbers, infinity and NaN."""
LOW = [0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]


def test_bfloat16_is_the_nearest_number_and_of_two_the_even_one():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    encode = package.encoded["bfloat16"]

    @package.kernel
    def store(z, bits):
        encode(z, bits)

    words = [sign | high << 16 | low for sign in (0, 1 << 31) for high in HIGH for low in LOW]
    z = np.array(words, np.uint32).view(np.float32)
    there = to_device(np.zeros(z.shape, np.uint16))
    launch(store, 1, 1, 0, to_device(z), there)
    with np.errstate(invalid="ignore"):
        expected = z.astype(bfloat16).view(np.uint16)
    expected[np.isnan(z)] = 0x7FFF
    assert to_host(there).tolist() == expected.tolist()
