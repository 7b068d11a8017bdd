import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones

import matkit
from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import ConfigError
from matkit.evaluator import predict
from matkit.hessians.potentials import autograd_hessian
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.building import model_class
from matkit.models.symmetrized import Symmetrization, parse_symmetrization
from matkit.simulate import singlepoint_many
from matkit.structures import cat
from matkit.symmetrize import (
    SymmetrizedCalculator,
    equivariance_errors,
    rotational_residual,
    symmetrize,
)
from tests.symmetrize.skewed import (
    SPECIES,
    Skewed,
    SkewedCalculator,
    generic,
    symmetric,
    turned,
)

MODES = ("grid", "frames", "stochastic", "canonical", "orbit")
EXACT = ("frames", "stochastic", "canonical", "orbit")


def wrapped(mode, size=24, analytic=True, reflections=True):
    torch.manual_seed(1)
    cls = model_class("symmetrized", Potential)
    return force_field(cls(SPECIES, Skewed(analytic), mode, size, reflections)).double().eval()


def results(model, atoms):
    return predict(model, from_ase(atoms))


def change(model, atoms, seed=3, mirrored=True):
    """The largest change of energy and of forces, which are turned back, by a turn."""
    other, matrix = turned(atoms, seed, mirrored)
    before, after = results(model, atoms), results(model, other)
    forces = before["forces"] @ torch.from_numpy(matrix) - after["forces"]
    return float((before["energy"] - after["energy"]).abs()), float(forces.abs().max())


@pytest.mark.parametrize("name", generic())
@pytest.mark.parametrize("mode", EXACT)
def test_energies_and_forces_do_not_depend_on_how_a_structure_lies(mode, name):
    atoms = generic()[name]
    assert change(force_field(Skewed()), atoms)[0] > 1e-3, "the network alone does"
    assert max(change(wrapped(mode), atoms)) < 1e-10
    assert max(change(wrapped(mode), atoms, mirrored=False)) < 1e-10


@pytest.mark.parametrize("name", {**generic(), **symmetric()})
@pytest.mark.parametrize("mode", MODES)
def test_the_fast_way_gives_what_autograd_does(mode, name):
    structures = from_ase({**generic(), **symmetric()}[name])
    fast, slow = (predict(wrapped(mode, analytic=a), structures) for a in (True, False))
    for key, value in fast.items():
        assert torch.allclose(value, slow[key], rtol=1e-9, atol=1e-11, equal_nan=True), key
        assert key == "stress" or bool(value.isfinite().all())


@pytest.mark.parametrize("mode", ["grid", "frames", "canonical"])
def test_forces_and_stress_are_finite_differences(mode):
    model, atoms, step = wrapped(mode), generic()["salt"], 2e-5
    found = results(model, atoms)

    def energy(strain, shift):
        moved = atoms.copy()
        moved.positions[1] += shift
        moved.set_cell(moved.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return float(results(model, moved)["energy"])

    shift, strain = (
        np.array([0.3, -0.5, 0.8]),
        np.array([[0.2, 0.1, 0], [0.1, -0.3, 0.2], [0, 0.2, 0.4]]),
    )
    nothing = np.zeros((3, 3))
    slope = (energy(nothing, step * shift) - energy(nothing, -step * shift)) / (2 * step)
    assert slope == pytest.approx(-float(found["forces"][1] @ torch.from_numpy(shift)), abs=1e-6)
    slope = (energy(step * strain, 0) - energy(-step * strain, 0)) / (2 * step)
    stress = float((found["stress"][0] * torch.from_numpy(strain)).sum()) * atoms.get_volume()
    assert slope == pytest.approx(stress, rel=1e-6, abs=1e-6)


def test_what_is_left_falls_with_the_size_of_the_grid():
    for atoms in (molecule("CH4"), generic()["salt"]):
        alone = max(change(force_field(Skewed()), atoms, seed)[0] for seed in range(4))
        left = [
            max(change(wrapped("grid", size), atoms, seed)[0] for seed in range(4))
            for size in (24, 120, 512)
        ]
        assert alone > left[0] > left[1] > left[2]
        assert left[2] < 1e-3 * alone


@pytest.mark.parametrize("name", symmetric())
def test_structures_without_axes_get_the_grid(name):
    atoms = symmetric()[name]
    frames, grid = results(wrapped("frames"), atoms), results(wrapped("grid"), atoms)
    assert torch.allclose(frames["energy"], grid["energy"], rtol=1e-12)
    assert torch.allclose(frames["forces"], grid["forces"], atol=1e-12)


def test_rotations_alone_tell_mirror_images_apart():
    atoms = molecule("CH3CH2OH")
    atoms.positions[-1, 2] += 0.5  # no mirror plane
    model = wrapped("frames", size=12, reflections=False)
    assert max(change(model, atoms, mirrored=False)) < 1e-10
    assert change(model, atoms, mirrored=True)[0] > 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_gives_what_its_structures_do(mode):
    several = [from_ase(atoms) for atoms in {**generic(), **symmetric()}.values()]
    model = wrapped(mode)
    whole = predict(model, cat(several))
    singles = [predict(model, one) for one in several]
    assert torch.allclose(whole["energy"], torch.cat([one["energy"] for one in singles]))
    assert torch.allclose(whole["forces"], torch.cat([one["forces"] for one in singles]))


@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize("mode", ["grid", "frames", "energy"])
def test_copies_in_parts_give_what_all_at_once_do(mode, analytic, monkeypatch):
    made = [*generic().values(), *([] if mode == "energy" else [bulk("Cu")])]  # has one lowest turn
    structures = cat([from_ase(atoms) for atoms in made])
    model = wrapped(mode, analytic=analytic)
    whole = predict(model, structures)
    hessian = autograd_hessian(model, structures.index([1]))
    used = watched_edges(model, monkeypatch)
    monkeypatch.setattr("matkit.potentials.symmetrized.EDGES", 50)
    parts = predict(model, structures)
    assert max(used) < 50 + 2 * 110, "a part, with its last copy"
    for key, value in whole.items():
        assert torch.allclose(value, parts[key], rtol=1e-10, atol=1e-10, equal_nan=True), key
    if mode != "energy":
        again = autograd_hessian(model, structures.index([1]))
        assert torch.allclose(hessian, again, rtol=1e-8, atol=1e-10)


def watched_edges(model, monkeypatch):
    """Edges of the graphs that the network inside is given, from now on."""
    used, backbone = [], model.network.backbone
    for name in ("forward", "edge_gradient"):
        plain = getattr(backbone, name)

        def counted(graph, plain=plain):
            used.append(len(graph.center))
            return plain(graph)

        monkeypatch.setattr(backbone, name, counted)
    return used


def test_one_copy_at_random_is_right_on_average():
    model = wrapped("stochastic")
    graph = model.featurize(from_ase(molecule("CH3CH2OH")))
    every = float(model(graph, ())["energy"])
    drawn = torch.cat([model.train()(graph, ())["energy"].detach() for _ in range(400)])
    assert len(drawn.unique()) > 2
    assert every == pytest.approx(float(drawn.mean()), abs=5 * float(drawn.std()) / 20)


@pytest.mark.parametrize("reflections", [True, False])
def test_augmentation_turns_in_training_alone(reflections):
    model, plain = wrapped("augmentation", 24 if reflections else 12, True, reflections), Skewed()
    atoms = molecule("CH3CH2OH")
    for key, value in results(force_field(plain), atoms).items():
        assert torch.allclose(results(model, atoms)[key], value, equal_nan=True)
    graph = model.train().featurize(from_ase(atoms))
    turns = torch.cat([model.network.orientations(graph).matrix for _ in range(20)])
    assert (torch.linalg.det(turns) < 0).any() == reflections
    drawn = [float(model(graph, ())["energy"].detach()) for _ in range(5)]
    assert len(set(drawn)) == 5


def test_wrapping_an_invariant_model_changes_nothing():
    inner = matkit.load("facet-universal").double()
    atoms = generic()["salt"]
    plain = results(inner, atoms)
    for mode in ("grid", "frames"):
        found = results(symmetrize(inner, mode), atoms)
        for key, value in plain.items():
            assert torch.allclose(value, found[key], atol=1e-9), (mode, key)


def test_symmetry_can_be_part_of_a_model_file(tmp_path):
    backbone = {"name": "facet", "cutoff": 4.0, "irreps": ["8x0e", "8x0e+4x1o", "8x0e"]}
    settings = {"species": [1, 8], "mode": "canonical", "backbone": backbone}
    made = checkpoint.build("symmetrized", settings)
    path = checkpoint.save(made, tmp_path / "model.safetensors")
    again = force_field(checkpoint.load(path)[0])
    water = molecule("H2O")
    assert torch.equal(results(again, water)["energy"], results(force_field(made), water)["energy"])


def test_the_penalty_of_distorted_copies_falls_to_zero_in_training():
    model = wrapped("orbit").train()
    graph = model.featurize(from_ase(molecule("CH3CH2OH")))
    learnt = torch.optim.Adam(model.parameters(), lr=0.02)
    penalties = []
    for _ in range(60):
        penalty = model(graph, ())["penalty"].sum()
        learnt.zero_grad()
        penalty.backward()
        learnt.step()
        penalties.append(float(penalty.detach()))
    assert penalties[-1] < 0.05 * penalties[0]


def test_a_calculator_of_matkit_stays_one():
    plain = MatkitCalculator(Skewed(), dtype="float64", skin=0.3)
    made = symmetrize(plain, "frames")
    assert isinstance(made, MatkitCalculator)
    assert made.parameters == plain.parameters
    assert made.info["symmetrize"] == "frames"
    energies = []
    for atoms in (molecule("H2O"), turned(molecule("H2O"), 5)[0]):
        atoms.calc = made
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)


@pytest.mark.parametrize("mode", ["frames", "grid:512"])
def test_any_calculator(mode):
    atoms = molecule("CH3CH2OH")
    calc = symmetrize(SkewedCalculator(), mode)
    assert isinstance(calc, SymmetrizedCalculator)
    other, matrix = turned(atoms, 7, mirrored=True)
    atoms.calc, other.calc = calc, symmetrize(SkewedCalculator(), mode)
    tolerance = 1e-10 if mode == "frames" else 1e-4
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(other.get_potential_energy(), abs=tolerance)
    assert atoms.get_forces() @ matrix == pytest.approx(other.get_forces(), abs=tolerance)
    assert calc.results["energy_std"] > 0.01
    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[4], icarts=[0, 1])
    assert atoms.get_forces()[4:5, :2] == pytest.approx(numeric, abs=1e-6)


def test_a_crystal_with_a_classical_potential():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = LennardJones(sigma=2.3, rc=6.0, smooth=True)
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.calc = symmetrize(atoms.calc, "grid:24")
    assert atoms.get_potential_energy() == pytest.approx(energy)
    assert atoms.get_forces() == pytest.approx(forces, abs=1e-10)
    assert atoms.get_stress() == pytest.approx(stress, abs=1e-10)
    assert atoms.calc.results["energy_std"] < 1e-10
    atoms.calc = symmetrize(LennardJones(), "frames")
    with pytest.raises(ConfigError, match="Frames of periodic structures need a potential"):
        atoms.get_potential_energy()


def test_the_residual_is_the_torque_on_a_molecule():
    atoms = molecule("CH3CH2OH")
    model = force_field(Skewed())
    found = results(model, atoms)
    torque = torch.linalg.cross(torch.from_numpy(atoms.positions), found["forces"]).sum(dim=0)
    residual = rotational_residual(model, cat([from_ase(atoms)] * 2))
    assert residual.tolist() == pytest.approx([float(torque.norm()) / 2**0.5] * 2)
    assert float(rotational_residual(wrapped("frames"), from_ase(atoms))) < 1e-10
    assert (
        float(rotational_residual(matkit.load("facet-universal").double(), from_ase(atoms))) < 1e-10
    )


def test_results_carry_the_residual():
    ethanol, salt = molecule("CH3CH2OH"), generic()["salt"]
    calc = MatkitCalculator(force_field(Skewed()).double())
    expected = [
        float(rotational_residual(calc.potentials[0], from_ase(a))) for a in (ethanol, salt)
    ]
    for found in (
        singlepoint_many([ethanol, salt], calc, residual=True),
        [matkit.singlepoint(a, calc, residual=True) for a in (ethanol, salt)],
    ):
        assert [one.rotational_residual for one in found] == pytest.approx(expected)
        assert [one.atoms.info["rotational_residual"] for one in found] == pytest.approx(expected)
    again = matkit.singlepoint(found[0].atoms, calc)
    assert again.rotational_residual is None, "that of an earlier calculation"


def test_the_residual_by_a_calculator_of_another_program():
    ethanol, calc, angle = molecule("CH3CH2OH"), SkewedCalculator(), 0.01
    slopes = []
    for axis in "xyz":
        ends = []
        for sign in (1, -1):
            turn = ethanol.copy()
            turn.rotate(sign * angle, axis)
            ends.append(matkit.singlepoint(turn, calc).energy)
        slopes.append((ends[0] - ends[1]) / (2 * np.radians(angle)))
    found = matkit.singlepoint(ethanol, calc, residual=True)
    assert found.rotational_residual == pytest.approx(np.linalg.norm(slopes) / 2**0.5, rel=1e-6)
    with pytest.raises(ConfigError, match="do not tell the torque on a cell"):
        matkit.singlepoint(generic()["salt"], calc, residual=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("grid", Symmetrization("grid", 24, True)),
        ("grid:120", Symmetrization("grid", 120, True)),
        ("frames", Symmetrization("frames", 24, True)),
        ("grid:60:SO3", Symmetrization("grid", 60, False)),
        ("frames:SO3", Symmetrization("frames", 12, False)),
        ("energy:48", Symmetrization("energy", 48, True)),
    ],
)
def test_requests(text, wanted):
    assert parse_symmetrization(text) == wanted


@pytest.mark.parametrize(
    ("model", "mode", "message"),
    [
        (Skewed(), "grit", "Did you mean 'grid'"),
        (Skewed(), "grid:25", "no grid of 25 rotations and reflections; the sizes are 24, 48, 120"),
        (Skewed(), "grid:SO3:12", "Expected a symmetrization such as grid:24"),
        ("nequip", "grid", "Expected a potential or an ASE calculator, got str"),
    ],
)
def test_what_cannot_be(model, mode, message):
    with pytest.raises(ConfigError, match=message):
        symmetrize(model, mode)


def test_a_mode_that_is_none():
    with pytest.raises(ConfigError, match="Unknown mode 'frame'. Did you mean 'frames'"):
        wrapped("frame")


def test_errors_of_turns_tell_who_is_symmetric():
    structures = cat([from_ase(atoms) for atoms in generic().values()])
    alone, exact = force_field(Skewed()), wrapped("frames")
    found = [equivariance_errors([model], structures, turns=3) for model in (alone, exact)]
    assert (found[0].structures, found[0].turns) == (3, 3)
    for name in ("energy", "forces", "stress", "residual"):
        assert getattr(found[0], name) > 1e-4, name
        assert getattr(found[1], name) < 1e-10, name
    molecules = equivariance_errors([alone], from_ase(molecule("H2O")))
    assert molecules.stress is None
    assert equivariance_errors([alone, alone], structures, turns=3) == found[0]
