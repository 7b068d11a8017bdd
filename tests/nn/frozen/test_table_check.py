"""The check of kernels that read radial tables, and what happens when it fails."""

import logging

import pytest
import torch

from matkit.data.ase import from_ase
from matkit.nn.frozen.table_check import check_table, largest_error
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution, check, fused
from matkit.testing.systems import crystal
from tests.nn.frozen.test_inference import pair, results

F32, F64 = torch.float32, torch.float64


@pytest.fixture(autouse=True)
def forget_answers():
    check_table.cache_clear()
    yield
    check_table.cache_clear()


def layout_of(text, keep=None):
    irreps = parse_irreps(text)
    return Convolution(irreps, 2, parse_irreps(keep or text), natural_parity=True).layout


def scaled(function, place, factor):
    """The function with one field of its result off by a factor."""

    def wrong(*args):
        found = function(*args)
        parts = list(found)
        if isinstance(parts[place], tuple):
            parts[place] = tuple(factor * part for part in parts[place])
        elif parts[place] is not None:
            parts[place] = factor * parts[place]
        return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)

    return wrong


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-11), (F32, 1e-4)])
@pytest.mark.parametrize("wanted", ["xyw", "yw"])
@pytest.mark.parametrize("text", ["20x0e+16x1o+3x2e", "8x0e"])
def test_kernels_agree(text, wanted, dtype, bound):
    assert largest_error(layout_of(text), dtype, wanted) <= bound


def test_features_that_no_path_uses():
    layout = layout_of("8x0e+2x0o+4x1o", keep="8x0e")
    assert 1 not in {path.source for path in layout.paths}
    assert check_table(layout, F64, "xyw")
    assert check(layout, F64)


@pytest.mark.parametrize(
    ("name", "place"),
    [("product", 0), ("gradients", 0), ("gradients", 1), ("gradients", 2)],
    ids=["out", "x", "harmonics", "lengths"],
)
def test_every_result_is_compared(monkeypatch, caplog, name, place):
    layout = layout_of("8x0e+4x1o")
    monkeypatch.setattr(fused, name, scaled(getattr(fused, name), place, 1.001))
    with caplog.at_level(logging.WARNING):
        assert not check_table(layout, F32, "xyw")
    assert "off by" in caplog.text


def test_a_kernel_that_does_not_compile(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(fused, "kernel_entry", broken)
    with caplog.at_level(logging.WARNING):
        assert not check_table(layout_of("8x0e"), F32, "xyw")
    assert "no such instruction" in caplog.text


def test_a_broken_table_kernel_makes_a_network_do_without_tables(monkeypatch, caplog):
    right = fused.gradients

    def wrong(layout, inputs, g, edges, variables="xyw"):
        found = right(layout, inputs, g, edges, variables)
        tabulated = isinstance(inputs[2], fused.TableWeights)
        return found._replace(weights=found.weights * 1.01) if tabulated else found

    monkeypatch.setattr(fused, "gradients", wrong)
    model, reference = pair({}, F32)
    structures = from_ase(crystal())
    with caplog.at_level(logging.WARNING):
        got = results(model, structures)
    assert "Kernels with radial tables cannot be used" in caplog.text
    assert "autograd" not in caplog.text
    layers = model.network._frozen[1]
    assert layers
    assert all(layer.table is None for layer in layers)
    expected = results(reference, structures)
    assert torch.allclose(got["forces"], expected["forces"], rtol=1e-4, atol=1e-6)
