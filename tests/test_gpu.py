"""The GPU gives the numbers of the CPU; run with ``pytest -m gpu`` on a machine that has one."""

import pytest
import torch

from matkit import checkpoint
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.neighbors import radius_graph
from tests.potentials.test_nequip import TINY
from tests.systems import SYSTEMS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_results_are_those_of_the_cpu(dtype, tolerance):
    torch.manual_seed(0)
    model = Conservative(checkpoint.build("nequip", TINY)).to(dtype).eval()
    structures = from_ase([make() for make in SYSTEMS.values()])
    on_cpu = model(model.featurize(structures))
    model.cuda()
    on_gpu = model(model.featurize(structures.to("cuda")))
    for key in ("energy", "forces", "stress"):
        got = on_gpu[key].cpu()
        assert torch.allclose(got, on_cpu[key], rtol=0, atol=tolerance, equal_nan=True), key


def test_neighbours_are_those_of_the_cpu():
    structures = from_ase([make() for make in SYSTEMS.values()])
    on_cpu, on_gpu = radius_graph(structures, 5.0), radius_graph(structures.to("cuda"), 5.0)
    for name in ("center", "neighbor", "shift"):
        assert torch.equal(getattr(on_gpu, name).cpu(), getattr(on_cpu, name))
