import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.vibrations import Vibrations
from scipy.spatial.transform import Rotation

from matkit.errors import StructureError
from matkit.hessians import normal_modes
from matkit.hessians.modes import is_linear, rigid_motions
from matkit.vibrations.animation import FRAMES, animate
from tests.vibrations.springs import K, ammonia, carbon_dioxide, nitrogen, springs


def wavenumber(square: float) -> float:
    """1/cm of an angular frequency whose square is given in eV/(Å² amu)."""
    per_second = np.sqrt(square * units._e * 1e20 / units._amu)
    return per_second / (2 * np.pi * units._c * 100)


def modes_of(atoms: Atoms, method: str = "autograd", **calc):
    return normal_modes(atoms, springs(**calc).get_hessian(atoms, method=method))


@pytest.mark.parametrize("method", ["autograd", "finite-difference"])
def test_diatomic_molecule(method):
    modes = modes_of(nitrogen(), method)
    (mass, _) = nitrogen().get_masses()
    assert modes.rigid == 5
    assert modes.frequencies == pytest.approx([wavenumber(2 * K / mass)], rel=1e-6)
    assert modes.reduced_masses == pytest.approx([mass])  # both atoms move alike
    assert np.abs(modes.vectors[0, :, 2]) == pytest.approx(np.sqrt([0.5, 0.5]))


def test_linear_triatomic_molecule():
    atoms = carbon_dioxide()
    modes = modes_of(atoms, cutoff=1.5)
    oxygen, carbon, _ = atoms.get_masses()
    symmetric, antisymmetric = K / oxygen, K * (1 / oxygen + 2 / carbon)
    assert modes.rigid == 5
    assert modes.frequencies[:2] == pytest.approx([0, 0], abs=1e-3)  # springs do not bend
    assert modes.frequencies[2:] == pytest.approx(
        [wavenumber(symmetric), wavenumber(antisymmetric)]
    )


def test_as_ase_finds(tmp_path):
    atoms = ammonia()
    modes = modes_of(atoms)
    atoms.calc = springs()
    oracle = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    oracle.run()
    assert modes.rigid == 6
    internal = oracle.get_energies()[6:].real  # ASE leaves the rigid motions in, near zero
    assert modes.frequencies == pytest.approx(internal / units.invcm, abs=1e-3)
    assert modes.zero_point_energy == pytest.approx(internal.sum() / 2, abs=1e-6)


def test_rotation_translation_and_permutation_change_nothing():
    atoms = ammonia()
    expected = modes_of(atoms)
    turned = atoms[[2, 0, 3, 1]]
    turned.positions = Rotation.random(rng=1).apply(turned.positions)
    turned.translate([3, -20, 7])
    found = modes_of(turned)
    assert found.frequencies == pytest.approx(expected.frequencies, abs=1e-6)
    assert found.reduced_masses == pytest.approx(expected.reduced_masses, abs=1e-6)


def test_rigid_motions_cost_no_energy():
    atoms = ammonia()
    rigid = rigid_motions(atoms)
    assert rigid.T @ rigid == pytest.approx(np.eye(6), abs=1e-12)
    moves = rigid / np.sqrt(np.repeat(atoms.get_masses(), 3))[:, None]
    assert springs().get_hessian(atoms) @ moves == pytest.approx(np.zeros((12, 6)), abs=1e-10)


def test_rigid_motions_are_taken_out_away_from_the_minimum():
    """There a rotation changes the gradient, so that the bare matrix has six modes that mix."""
    atoms = ammonia()
    atoms.rattle(0.05, seed=3)
    modes = modes_of(atoms)
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    weighted = modes.vectors.reshape(6, -1) * root
    assert weighted @ rigid_motions(atoms) == pytest.approx(np.zeros((6, 6)), abs=1e-10)


def test_isotopes():
    light, heavy = nitrogen(), nitrogen()
    heavy.set_masses(4 * light.get_masses())
    ratio = modes_of(light).frequencies / modes_of(heavy).frequencies
    assert ratio == pytest.approx([2.0])


def test_imaginary_modes_are_negative():
    atoms = nitrogen()
    modes = normal_modes(atoms, -springs().get_hessian(atoms))
    assert modes.frequencies == pytest.approx(-modes_of(atoms).frequencies)
    assert modes.imaginary == pytest.approx(modes.frequencies)
    assert modes.zero_point_energy == 0


def test_single_atom():
    modes = normal_modes(Atoms("N"), np.zeros((3, 3)))
    assert (modes.rigid, len(modes.frequencies), modes.zero_point_energy) == (3, 0, 0)


def test_frozen_atoms():
    """A hydrogen atom that vibrates against three fixed atoms, along three axes."""
    atoms = ammonia()
    hessian = springs().get_hessian(atoms)
    modes = normal_modes(atoms, hessian, free=[2])
    expected = np.linalg.eigvalsh(hessian[6:9, 6:9]) / atoms.get_masses()[2]
    assert modes.rigid == 0
    assert modes.frequencies == pytest.approx([wavenumber(value) for value in expected])
    assert not modes.vectors[:, [0, 1, 3]].any()


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (Atoms("He"), False),
        (molecule("CO"), True),
        (molecule("C2H2"), True),
        (molecule("H2O"), False),
        (molecule("2-butyne"), False),
    ],
    ids=str,
)
def test_linear(atoms, expected):
    assert is_linear(atoms) is expected


def test_a_relaxed_linear_molecule_is_linear():
    atoms = carbon_dioxide()
    atoms.positions[1, 0] += 1e-3
    assert is_linear(atoms)
    assert len(modes_of(atoms).frequencies) == 4


@pytest.mark.parametrize(
    ("hessian", "message"),
    [
        (np.zeros((3, 6)), r"shape \[6, 6\] for 2 atoms, got \[3, 6\]"),
        (np.full((6, 6), np.nan), "NaN"),
    ],
)
def test_bad_hessians(hessian, message):
    with pytest.raises(StructureError, match=message):
        normal_modes(nitrogen(), hessian)


def test_animation():
    atoms = ammonia()
    modes = modes_of(atoms)
    frames = list(animate(atoms, modes, amplitude=0.2))
    assert len(frames) == 6 * FRAMES
    assert [frame.info["mode"] for frame in frames[::FRAMES]] == list(range(6))
    moved = np.array([frame.positions for frame in frames[:FRAMES]]) - atoms.positions
    assert np.linalg.norm(moved, axis=2).max() == pytest.approx(0.2)
    assert moved.sum(axis=0) == pytest.approx(np.zeros((4, 3)), abs=1e-12)
    assert not moved[0].any()
