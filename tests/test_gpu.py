"""The GPU gives the numbers of the CPU; run with ``pytest -m gpu`` on a machine that has one."""

import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.dispersion import with_dispersion
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.neighbors.cell_list import cell_list_edges
from matkit.neighbors.verlet import VerletList
from matkit.nn.frozen.table_check import largest_error as largest_table_error
from matkit.nn.harmonics import harmonics, harmonics_gradient
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution, backends, fused, reference
from matkit.nn.kernels.check import TOLERANCE, largest_error
from matkit.simulate import md_many, relax_many
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.limits import BatchLimit
from matkit.testing.systems import SYSTEMS, crystal, water
from tests.nn.kernels.convolutions import CASES, F64, make, make_graph, make_inputs, relative
from tests.potentials.test_nequip import SEVENNET, TINY
from tests.simulate.morse import Morse

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SEVENNET_0 = "128x0e+64x1e+32x2e"


def potential(dtype=torch.float32, **switches):
    torch.manual_seed(0)
    return Conservative(checkpoint.build("nequip", TINY | switches)).to(dtype).eval()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("case", [*CASES, (SEVENNET_0, 2, False)], ids=str)
def test_kernels_are_the_reference(case, dtype):
    bound = 1e-11 if dtype == F64 else TOLERANCE[dtype]
    layout = make(case).layout
    assert largest_error(layout, dtype, "triton", "cuda") < bound
    for wanted in ("xyw", "yw"):
        assert largest_table_error(layout, dtype, wanted, "triton", "cuda") < bound


def test_kernels_repeat_to_the_bit():
    graph, conv = make_graph(40, 600).to("cuda"), make((SEVENNET_0, 2, False))
    x, y, w, g = (move(part) for part in make_inputs(conv, graph, torch.float32))
    edges, kernels = fused.edges_of(graph), backends.kernels_for(torch.device("cuda"))
    seen = []
    for _ in range(3):
        by = kernels.gradients(conv.layout, (x, y, w), g, edges)
        out = kernels.product(conv.layout, x, y, w, edges)
        seen.append([*out, *by.x, by.harmonics, by.weights])
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def move(part):
    return tuple(p.cuda() for p in part) if isinstance(part, tuple) else part.cuda()


def test_layers_choose_triton_and_train():
    graph, irreps = make_graph().to("cuda"), parse_irreps("4x0e+3x1o+2x2e")
    conv = Convolution(irreps, 2, irreps, True)
    x, y, w, _ = (move(part) for part in make_inputs(conv, graph))
    assert conv.choose(w) == "triton"
    leaves = [part.requires_grad_() for part in (*x, y, w)]
    found = []
    for out in (conv(x, y, w, graph), reference.convolve(conv.layout, x, y, w, graph)):
        value = sum((part**3).sum() for part in out)
        by = torch.autograd.grad(value, leaves, create_graph=True)
        second = torch.autograd.grad(sum((part**2).sum() for part in by), leaves)
        found.append([*by, *second])
    assert all(relative(a, b) < 1e-11 for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("reach", [2.0, float("inf")])
def test_harmonics_are_those_of_the_cpu(reach):
    vectors = torch.randn(1000, 3, dtype=F64)
    lengths, values = harmonics(vectors, 3, F64, reach)
    found = harmonics(vectors.cuda(), 3, F64, reach)
    assert relative(found[0].cpu(), lengths) < 1e-14
    assert relative(found[1].cpu(), values) < 1e-12
    by = torch.randn_like(lengths), torch.randn_like(values)
    found = harmonics_gradient(vectors.cuda(), by[0].cuda(), by[1].cuda(), reach)
    assert relative(found.cpu(), harmonics_gradient(vectors, *by, reach)) < 1e-12


@pytest.mark.parametrize("switches", [{}, SEVENNET], ids=["nequip", "sevennet"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-9), (torch.float32, 1e-4)])
def test_results_are_those_of_the_cpu(dtype, tolerance, switches, caplog):
    model = potential(dtype, **switches)
    structures = from_ase([make() for make in SYSTEMS.values()])
    on_cpu = model(model.featurize(structures))
    model.cuda()
    graph = model.featurize(structures.to("cuda"))
    with caplog.at_level(logging.WARNING):
        assert model.network.edge_gradient(graph) is not None
    assert not caplog.text
    by_hand = model(graph)
    model.analytic = False
    for on_gpu in (by_hand, model(graph)):
        for key in ("energy", "forces", "stress"):
            got = on_gpu[key].cpu()
            assert torch.allclose(got, on_cpu[key], rtol=0, atol=tolerance, equal_nan=True), key


def test_neighbours_are_those_of_the_cpu():
    structures = from_ase([make() for make in SYSTEMS.values()])
    on_cpu, on_gpu = radius_graph(structures, 5.0), radius_graph(structures.to("cuda"), 5.0)
    for name in ("center", "neighbor", "shift"):
        assert torch.equal(getattr(on_gpu, name).cpu(), getattr(on_cpu, name))


def test_neighbours_of_many_atoms_take_little_memory():
    structures = from_ase(bulk("Cu", cubic=True).repeat(20)).to("cuda")
    torch.cuda.reset_peak_memory_stats()
    center, _, _ = cell_list_edges(structures, 5.0)
    assert len(center) == 42 * 32_000
    assert torch.cuda.max_memory_allocated() < 4e9


def test_a_neighbour_list_that_serves_looks_at_one_number():
    structures = from_ase(crystal()).to("cuda")
    verlet = VerletList(4.0, 0.5)
    verlet.candidates(structures)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchronizing") as seen:
            verlet.candidates(structures.replace(positions=structures.positions + 0.01))
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert len(seen) == 1
    assert verlet.searches == 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("system", ["molecule", "crystal", "slab"])
def test_replayed_steps_are_those_of_the_cpu(system, dtype, tolerance, caplog):
    model, atoms = potential(dtype), SYSTEMS[system]()
    on_gpu, on_cpu = (MatkitCalculator(model, device=name) for name in ("cuda", "cpu"))
    rng, home = np.random.default_rng(0), atoms.positions.copy()
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            atoms.positions = home + rng.normal(scale=0.06, size=home.shape)
            for calculator in (on_cpu, on_gpu):
                atoms.calc = calculator
                atoms.get_forces()
            for key in ("energy", "forces"):
                assert on_gpu.results[key] == pytest.approx(on_cpu.results[key], abs=tolerance)
            if system != "molecule":
                assert atoms.get_stress() == pytest.approx(on_cpu._stress, abs=tolerance)
    assert on_gpu._replay.works
    assert not caplog.text


def test_an_edge_too_short_for_the_table_is_right():
    model = potential()
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], calculator=MatkitCalculator(model, "cuda"))
    atoms.get_forces()
    atoms.positions[1, 2] = 0.3
    expected = model(model.featurize(from_ase(atoms)))["forces"]
    assert atoms.get_forces() == pytest.approx(expected.numpy(), rel=1e-3)
    assert atoms.calc._replay.works


def test_a_thousand_steps_without_new_kernels_or_memory():
    model, atoms = potential(irreps=["8x0e", "8x0e+4x1o", "8x0e"]), crystal().repeat((2, 2, 2))
    atoms.calc = MatkitCalculator(model, device="cuda", skin=0.2)
    rng, home, seen, edges = np.random.default_rng(0), atoms.positions.copy(), [], set()
    for step in range(1000):
        atoms.positions = home + rng.normal(scale=0.15, size=home.shape)
        atoms.get_forces()
        replay = atoms.calc._replay
        edges.add(len(replay._loaded[0].center))
        if step in (499, 999):
            recordings = len(replay.recordings)
            seen.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), recordings))
    assert replay.works
    assert len(edges) > 20
    assert seen[0][2] <= seen[1][2] <= 4
    if seen[0][2] == seen[1][2]:
        assert seen[1][0] <= seen[0][0] + 1_000_000
        assert seen[1][1] <= seen[0][1] + 50_000_000


def test_a_molecule_then_a_crystal_then_the_molecule():
    model = potential()
    on_gpu, on_cpu = (MatkitCalculator(model, device=name) for name in ("cuda", "cpu"))
    for atoms in (water(), crystal(), water()):
        forces = []
        for calculator in (on_gpu, on_cpu):
            atoms.calc = calculator
            forces.append(atoms.get_forces())
        assert forces[0] == pytest.approx(forces[1], abs=1e-4)
    assert len(on_gpu._replay.recordings) == 2


def test_dispersion_is_that_of_the_cpu():
    """It is computed on the CPU: no recording is made."""
    pytest.importorskip("dftd3", reason='needs pip install "matkit[dispersion]"')
    found = []
    for device in ("cpu", "cuda"):
        field = with_dispersion(potential(torch.float64), "d3bj")
        atoms = crystal()
        atoms.calc = MatkitCalculator(field, device, "float64")
        forces, stress = atoms.get_forces(), atoms.get_stress()
        found.append((forces, stress, atoms.calc.get_hessian(atoms)))
        assert atoms.calc._replay is None
    for cpu, cuda in zip(*found, strict=True):
        assert cuda == pytest.approx(cpu, abs=1e-8)


def crystals():
    found = [bulk("Cu", a=3.7, cubic=True) * (1, 1, 1 + i % 3) for i in range(8)]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.1, seed=seed)
    return found


def test_batched_relaxation_is_that_of_the_cpu():
    options = {"relax_cell": True, "optimizer": "LBFGS"}
    here, there = (
        relax_many(crystals(), MatkitCalculator(Morse(), device=device), **options)
        for device in ("cpu", "cuda")
    )
    assert [r.reason for r in there] == ["converged"] * 8
    assert [r.energy for r in there] == pytest.approx([r.energy for r in here], abs=1e-6)


def test_batched_dynamics_replays_graphs_and_is_that_of_the_cpu():
    options = {"steps": 30, "temperature": 300}
    here, there = (
        md_many(crystals(), MatkitCalculator(Morse(), device=device, dtype="float64"), **options)
        for device in ("cpu", "cuda")
    )
    assert [r.energy for r in there] == pytest.approx([r.energy for r in here], abs=1e-6)


def test_batches_fill_the_memory_of_the_gpu():
    calc = MatkitCalculator(Morse(), device="cuda")
    limit = BatchLimit("auto", calc.device, calc.potentials[0].cutoff)
    BatchForces(calc, limit)(from_ase(crystals()).to("cuda"))
    assert limit.edges > 100_000
