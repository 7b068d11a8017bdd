"""Learnt relaxations: symmetry, gradients through several steps, and that they learn."""

import pytest
import torch
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.errors import ConfigError, StructureError
from matkit.models import checkpoint
from matkit.nn.heads.refinement import Refinement
from matkit.structures import cat
from matkit.testing.systems import crystal, random_rotation, water

BACKBONES: dict = {
    "hotpp": {"channels": 3, "layers": 2, "radial_hidden": [4]},
    "nequip": {"irreps": ["4x0e", "4x0e+3x1o", "4x0e"], "lmax": 1, "radial_hidden": [4]},
}


def built(name="hotpp", steps=3, seed=0, **more):
    torch.manual_seed(seed)
    settings = {"species": [1, 8, 11, 17], "cutoff": 3.6, **BACKBONES[name]}
    model = Refinement([checkpoint.build(name, settings) for _ in range(steps)], **more).double()
    for step in model.steps:  # which begin at zero
        torch.nn.init.normal_(step.gate[2].weight)
    return model


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_steps_turn_and_move_with_the_structure(name, sign):
    model, before, turn = built(name), from_ase(crystal()), sign * random_rotation()
    move = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    after = before.replace(positions=before.positions @ turn.T + move, cell=before.cell @ turn.T)
    with torch.no_grad():
        for a, b in zip(model(before), model(after), strict=True):
            assert torch.allclose(a.positions @ turn.T + move, b.positions, rtol=0, atol=1e-9)
    assert (a.positions - before.positions).abs().max() > 1e-4, "the test can fail"


def test_company_does_not_matter():
    model = built()
    with torch.no_grad():
        together = model(cat([from_ase(crystal()), from_ase(water())]))[-1].positions
        alone = model(from_ase(water()))[-1].positions
    assert torch.allclose(together[-3:], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("refresh", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_through_all_steps_are_finite_differences(name, refresh):
    model, start = built(name, refresh=refresh), from_ase(water())
    torch.manual_seed(1)
    weights, direction = torch.randn(2, 3, 3).double()

    def loss(positions):
        return (model(start.replace(positions=positions))[-1].positions * weights).sum()

    positions = start.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(positions), positions)
    step = 1e-5
    with torch.no_grad():
        plus, minus = (loss(start.positions + s * step * direction) for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(
        float(plus - minus) / (2 * step), abs=1e-7
    )
    assert (gradient - weights).abs().max() > 1e-3, "the steps have a gradient"


@pytest.mark.parametrize(("refresh", "edges"), [(True, [2, 4]), (False, [2, 2])])
def test_edges_are_found_anew_where_atoms_come_closer(refresh, edges):
    """The first step brings the last of three atoms into reach of the second one."""
    model, counts = built(steps=2, refresh=refresh), []

    def step(graph):
        counts.append(len(graph.center))
        return torch.tensor([[0.0, 0, 0], [0, 0, 0], [-0.2, 0, 0]], dtype=torch.float64)

    for layer in model.steps:
        layer.forward = step
    line = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [5.7, 0, 0]], dtype=torch.float64)
    model(from_ase(water()).replace(positions=line))
    assert counts == edges


def test_no_atom_moves_farther_than_the_longest_step():
    model, start = built(steps=2, longest_step=0.05), from_ase(crystal())
    for step in model.steps:
        torch.nn.init.normal_(step.gate[2].weight, std=1e3)
    with torch.no_grad():
        first, second = model(start)
    lengths = (second.positions - first.positions).norm(dim=1)
    assert 0.04 < float(lengths.max()) <= 0.05


def test_nothing_moves_before_training_and_weights_may_be_shared():
    backbone = checkpoint.build("hotpp", {"species": [1, 8], **BACKBONES["hotpp"]})
    model, start = Refinement([backbone, backbone]), from_ase(water())
    assert torch.equal(model(start)[-1].positions, start.positions)
    assert model.steps[0].backbone is model.steps[1].backbone


def test_atoms_upon_each_other_are_an_error():
    start = from_ase(water())
    positions = start.positions.clone()
    positions[1] = positions[0]
    with pytest.raises(StructureError, match="Displacements of step 1 are not finite"):
        built()(start.replace(positions=positions))


def test_backbones_have_vectors():
    settings = {"species": [1], "irreps": ["4x0e", "4x0e", "4x0e"], "lmax": 0}
    scalars = checkpoint.build("nequip", settings)
    with pytest.raises(ConfigError, match=r"got one of 4x0e, without 1o"):
        Refinement([scalars])
    with pytest.raises(ConfigError, match="Expected a positive `steps`"):
        Refinement([])


def test_it_learns_to_relax_water():
    torch.manual_seed(1)
    relaxed = from_ase(molecule("H2O"))
    lengths = torch.pdist(relaxed.positions)
    noise = 0.1 * torch.randn(4, 3, 3, dtype=torch.float64)
    start = cat([relaxed.replace(positions=relaxed.positions + part) for part in noise])
    model = built(steps=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def error(structures):
        found = [torch.pdist(three) for three in structures.positions.split(3)]
        return (torch.stack(found) - lengths).square().mean().sqrt()

    for _ in range(15):
        loss = error(model(start)[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * float(error(start))
