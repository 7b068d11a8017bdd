"""QHNet beside the same network of e3nn's parts."""

import importlib.util
from pathlib import Path

import pytest
import torch
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.models import checkpoint
from matkit.structures import cat

PATH = Path(__file__).parents[2] / "benchmarks" / "qhnet_e3nn.py"
SHELLS = {1: (0, 0, 1), 8: (0, 0, 0, 1, 1, 2)}
GIVEN = {"species": [1, 8], "shells": SHELLS, "channels": 4, "pair_channels": 3, "layers": 2}


@pytest.fixture
def float64():
    """e3nn keeps its coefficients in the default precision at the time a layer is made."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_the_matrix_is_that_of_the_same_network_of_e3nn(float64):
    pytest.importorskip("e3nn")
    spec = importlib.util.spec_from_file_location("qhnet_e3nn", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network = checkpoint.build("qhnet", GIVEN | {"pair_layers": 2}).double()
    for blocks in (network.own_blocks, network.pair_blocks):
        torch.nn.init.normal_(blocks.bias)
    same = module.E3nnQHNet(network, (0, 0, 0, 1, 1, 2))
    structures = cat([from_ase(molecule("H2O")), from_ase(molecule("H2"))])
    graph = network.featurize(structures)
    with torch.no_grad():
        found, expected = (model(graph)["hamiltonian"].dense() for model in (network, same))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
        assert float(other.abs().max()) > 1
