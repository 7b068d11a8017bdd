import copy
import logging
from typing import ClassVar

import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.nn.frozen import nodes
from matkit.nn.references import references_of
from matkit.structures import cat
from matkit.testing.potentials import SCALE, SHIFT, PotentialContract
from matkit.testing.systems import SYSTEMS, crystal, random_rotation, water

# The layers of a new model add nothing to their input; most tests need a model that does more.
TINY = {
    "species": [1, 8, 11, 17],
    "irreps": ["8x0e", "8x0e+4x1o+2x2e", "8x0e+4x1o+2x2e", "8x0e"],
    "cutoff": 3.6,
    "mixer": "grid",
    "grid_channels": 4,
    "neighbor_norm": 3.0,
    "residual_init": 0.5,
}
GATE = TINY | {"mixer": "gate"}
SPLINES = TINY | {"radial_basis": "spline", "basis_size": 16, "radial_hidden": [8]}
SCALED = GATE | {"species_scale": True}
VARIANTS = {"grid": TINY, "gate": GATE, "splines": SPLINES, "scaled": SCALED}


class TestFacet(PotentialContract):
    name = "facet"
    hyperparameters: ClassVar = TINY
    claims: ClassVar = set()  # the grid is not exact; see the test of its error


class TestGate(PotentialContract):
    name = "facet"
    hyperparameters: ClassVar = GATE
    claims: ClassVar = {"rotation", "reflection"}


class TestRepulsion(PotentialContract):
    name = "facet"
    hyperparameters: ClassVar = GATE | {"zbl": True}
    claims: ClassVar = {"rotation", "reflection"}
    step: ClassVar = 1e-5


class TestCore(PotentialContract):
    """With atoms of the contract's structures in each other's core."""

    name = "facet"
    hyperparameters: ClassVar = GATE | {"core": 1.0}
    claims: ClassVar = {"rotation", "reflection"}
    step: ClassVar = 1e-5


class TestSpeciesScale(PotentialContract):
    name = "facet"
    hyperparameters: ClassVar = SCALED
    claims: ClassVar = {"rotation", "reflection"}


class TestSplines(PotentialContract):
    name = "facet"
    hyperparameters: ClassVar = SPLINES
    claims: ClassVar = set()


def model(settings: dict, dtype: torch.dtype = torch.float64) -> Conservative:
    torch.manual_seed(0)
    network = checkpoint.build("facet", settings)
    references_of(network).set(scale=SCALE, shift=SHIFT)
    return Conservative(network.to(dtype)).eval()


def results(potential: Conservative, structures) -> dict[str, torch.Tensor]:
    return potential(potential.featurize(structures))


def chiral() -> Atoms:
    return Atoms("ONaClH", [[0, 0, 0], [1.9, 0.1, 0], [0.2, 2.1, 0.3], [-0.4, 0.3, 1.0]])


def everything():
    return cat([from_ase(make()) for make in SYSTEMS.values()])


def test_parameter_count():
    """Counted by hand, for two species and the default sizes."""
    network = checkpoint.build("facet", {"species": [1, 8]})
    narrow, wide, gates = 64, (128, 64, 32), 96
    couplings = 64 * (1 + 1 + 1), 128 * 3 + 64 * 4 + 32 * 4, 128 + 64 + 32
    received = (64, 64, 64), (128 + 64 + 32, 128 + 2 * 64 + 32, 128 + 64 + 2 * 32), (224,)
    mixed = (128 + gates, 64, 32)
    mixers = sum(n * n + n for n in wide)  # matrix and norm
    count = 2 * narrow + 8 + 8 * sum(couplings)
    count += narrow * mixed[0] + sum(a * b for a, b in zip(wide, mixed, strict=True))
    count += sum(a * b for rows in received[:2] for a, b in zip(rows, mixed, strict=True))
    count += 2 * mixers
    count += 128 * 64 + 224 * 64 + 64 * 64 + 64 + 64  # the last layer and the read-out
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", VARIANTS)
def test_a_new_model_gives_the_shifts(name, caplog):
    settings = VARIANTS[name] | {"residual_init": 0.0}
    with caplog.at_level(logging.WARNING):
        result = results(model(settings, torch.float32), from_ase(crystal()))
    assert not caplog.text
    assert torch.allclose(result["energy"], torch.tensor([4 * (-0.5 - 2.0)], dtype=torch.float64))
    assert not result["forces"].any()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_few_steps_bring_gradients_to_every_parameter(name):
    """A layer that begins as the identity hides what is before it only until the first steps."""
    torch.manual_seed(0)
    network = checkpoint.build("facet", VARIANTS[name] | {"residual_init": 0.0})
    potential = Conservative(network).train()
    graph = potential.featurize(cat([from_ase(water()), from_ase(crystal())]))
    target = torch.randn(11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(potential.parameters(), lr=0.01)
    reached = []
    for _ in range(4):
        optimizer.zero_grad()
        (potential(graph)["forces"] - target).square().mean().backward()
        parameters = dict(network.named_parameters())
        reached.append({n for n, p in parameters.items() if p.grad is not None and p.grad.any()})
        optimizer.step()
    assert reached[0] < set(parameters)
    assert reached[-1] == set(parameters)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_isolated_atom_has_the_energy_of_its_shift(name):
    potential = model(VARIANTS[name])
    for number, shift in zip(TINY["species"], SHIFT, strict=True):
        energy = results(potential, from_ase(Atoms(numbers=[number])))["energy"]
        assert float(energy) == pytest.approx(shift, abs=1e-12)
    atoms = water() + Atoms("Na", [[30.0, 0, 0]])
    assert float(results(potential, from_ase(atoms))["atom_energy"][3]) == pytest.approx(-0.5)


@pytest.mark.parametrize(("name", "order"), [("grid", 3), ("gate", 3), ("splines", 4)])
def test_energy_vanishes_smoothly_at_the_cutoff(name, order):
    """With the third (fourth) power of the distance to it: two (three) derivatives continue."""
    potential = model(VARIANTS[name])
    if name != "splines":
        # Untrained Bessel functions vanish at the cutoff, too.
        potential.network.basis.frequencies.data *= 1.1

    def energy(distance: float) -> float:
        atoms = Atoms("ONa", [[0, 0, 0], [3.6 - distance, 0, 0]])
        return float(results(potential, from_ase(atoms))["energy"]) + 4.5

    assert energy(2e-2) / energy(1e-2) == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize("name", VARIANTS)
def test_mirror_images_have_the_same_energy(name):
    """Exactly, although the grid turns only approximately."""
    potential, atoms = model(VARIANTS[name]), from_ase(chiral())
    image = atoms.replace(positions=-atoms.positions)
    a, b = results(potential, atoms), results(potential, image)
    assert torch.allclose(a["atom_energy"], b["atom_energy"], rtol=0, atol=1e-13)
    assert torch.allclose(a["forces"], -b["forces"], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("points", "bound"), [(50, 2e-2), (110, 2e-3), (194, 2e-4)])
def test_rotation_error(points, bound):
    """Largest change of a force when a structure turns, relative to the largest force."""
    # Weights larger than those of a new model make signals that are hard to represent.
    potential = model(TINY | {"grid_points": points, "neighbor_norm": 1.0, "residual_init": 1.0})
    structures, worst = from_ase(chiral()), 0.0
    before = results(potential, structures)["forces"]
    for seed in range(5):
        matrix = random_rotation(seed)
        after = results(potential, structures.replace(positions=structures.positions @ matrix.T))
        error = (before @ matrix.T - after["forces"]).abs().max() / before.abs().max()
        worst = max(worst, float(error))
    print(f"{points} points: {worst:.1e}")
    assert worst < bound


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", VARIANTS)
def test_written_out_derivative_agrees_with_autograd(monkeypatch, name, dtype, tolerance):
    monkeypatch.setattr(nodes, "ATOMS", 5)
    potential = model(VARIANTS[name], dtype)
    reference = copy.deepcopy(potential).double()
    for layer in reference.network.interactions:
        layer.convolution.backend = "reference"
    reference.analytic = False
    assert potential.network.edge_gradient(potential.featurize(everything())) is not None
    got, expected = results(potential, everything()), results(reference, everything())
    for key in ("energy", "atom_energy", "forces", "stress"):
        scale = expected[key].nan_to_num().abs().max()
        assert (got[key] - expected[key]).nan_to_num().abs().max() <= tolerance * scale, key


def test_messages_are_scaled_by_the_species_that_receives_them():
    """What an atom of one element feels changes with its own factors and with no others."""
    potential, atoms = model(SCALED), from_ase(chiral())
    before = results(potential, atoms)["atom_energy"]
    last = potential.network.interactions[-1].species_scale.weights[0]
    with torch.no_grad():
        last[TINY["species"].index(11)] += 0.5
    changed = results(potential, atoms)["atom_energy"] - before
    assert (changed != 0).tolist() == [z == 11 for z in chiral().numbers]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": [1, 1]}, "distinct atomic numbers"),
        ({"cutoff": 0.0}, "positive `cutoff`"),
        ({"mixer": "gates"}, "Did you mean 'gate'"),
        ({"radial_basis": "splines"}, "Did you mean 'spline'"),
        ({"grid_points": 6}, "take at least 14 points"),
        ({"zbl": True, "core": 0.5}, "`core` holds the repulsion of `zbl` already"),
        ({"irreps": ["8x0e", "8x0e+4x1e", "8x0e"]}, r"0e\+1o\+2e"),
        ({"irreps": ["8x0e", "8x0e+4x1o+4x2e+4x3o", "8x0e"], "lmax": 2}, "cannot make 4x3o"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint.build("facet", TINY | change)
