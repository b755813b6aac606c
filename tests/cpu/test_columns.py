"""Activations of neighbouring rows, a lane each, have the bits of rows one by one, whatever the strides."""

import numpy as np
import pytest

import fastxent
from fastxent import cpu
from tests.cpu.test_tile_blocks import awkward_rows
from tests.measure import assert_same_bits

pytestmark = pytest.mark.slow

each_activation = pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])


@each_activation
@pytest.mark.parametrize(
    "dtype", [np.float32, *(pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float64, np.float16))]
)
def test_bits_do_not_depend_on_which_axis_is_contiguous(name, dtype):
    activation = getattr(fastxent, name)
    for n_classes in (cpu.FEW_CLASSES + 1, 97, 129, 801, 1025, 3000):
        logits = awkward_rows(n_classes, np.float32)[0].clip(-6e4, 6e4).astype(dtype)
        logits[5, 8] = np.inf
        expected = activation(logits)
        neighbours = np.asfortranarray(logits)
        assert_same_bits(activation(neighbours), expected)
        if name != "logsumexp":
            assert_same_bits(activation(neighbours, out=neighbours), expected)


@each_activation
def test_rows_of_an_image_are_those_of_a_matrix(name):
    """Rows on several axes: of the inner ones, some tiles hold the end of one and the start of the next."""
    images = np.random.default_rng(0).normal(0, 3, (3, 70, 5, 7)).astype(np.float32)
    activation = getattr(fastxent, name)
    expected = activation(np.moveaxis(images, 1, -1).copy())
    result = activation(images, axis=1)
    assert_same_bits(result if name == "logsumexp" else np.moveaxis(result, 1, -1), expected)
