import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read

from matkit.errors import ConfigError, StructureError
from matkit.simulate import RelaxOptions, relax
from tests.simulate.calculators import Springs

GPA = 1 / 160.21766208


def strained(scale=1.02, rattle=0.05):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    atoms.rattle(rattle, seed=1)
    return atoms


@pytest.mark.parametrize("optimizer", ["FIRE", "LBFGS", "BFGS"])
def test_positions_relax_to_small_forces(optimizer):
    result = relax(strained(), EMT(), optimizer=optimizer)
    assert result.converged
    assert result.converged
    assert result.reason == "converged"
    assert result.max_force < 0.01
    assert result.energy < result.initial_energy
    assert result.max_stress is None
    assert result.max_force == pytest.approx(
        np.linalg.norm(result.atoms.get_forces(), axis=1).max()
    )


def test_the_readme_example():
    result = relax(strained(), EMT(), fmax=0.01, relax_cell=True)
    assert result.converged
    assert result.atoms.cell.lengths() == pytest.approx(3.59, abs=0.01)
    assert np.abs(result.atoms.get_stress()).max() == pytest.approx(result.max_stress)


def test_the_input_is_not_changed():
    atoms = strained()
    atoms.calc = calc = EMT()
    before = atoms.copy()
    result = relax(atoms, EMT(), relax_cell=True, steps=3)
    assert atoms == before
    assert atoms.calc is calc
    assert result.atoms is not atoms
    assert result.atoms.positions.flags.owndata


def test_options_may_be_an_object_with_changes():
    options = RelaxOptions(fmax=0.5, steps=7)
    result = relax(strained(), EMT(), options, fmax=1e-9)
    assert (result.steps, result.reason) == (7, "max_steps")


def test_not_converged_is_said():
    result = relax(strained(), EMT(), steps=2)
    assert not result.converged
    assert not result.converged
    assert result.reason == "max_steps"
    assert result.steps == 2
    assert "raise steps" in result.message


def test_zero_steps_evaluate_only():
    atoms = strained()
    result = relax(atoms, EMT(), steps=0)
    assert result.steps == 0
    assert np.array_equal(result.atoms.positions, atoms.positions)


def test_an_already_relaxed_structure_takes_no_step():
    result = relax(bulk("Cu", cubic=True), EMT())
    assert (result.converged, result.steps) == (True, 0)


def test_pressure_compresses():
    free = relax(strained(), EMT(), relax_cell=True, fmax=1e-3)
    pressed = relax(strained(), EMT(), relax_cell=True, fmax=1e-3, pressure=10 * GPA)
    assert pressed.atoms.get_volume() < 0.97 * free.atoms.get_volume()
    assert -pressed.atoms.get_stress()[:3] == pytest.approx(10 * GPA, rel=0.01)
    assert pressed.max_stress < 0.1 * GPA


@pytest.mark.parametrize(
    ("mode", "expected"), [("hydrostatic", "shape"), ("constant-volume", "volume")]
)
def test_cell_modes_keep_what_they_say(mode, expected):
    atoms = strained()
    atoms.set_cell(atoms.cell @ np.diag([1.0, 1.02, 1.0]), scale_atoms=True)
    result = relax(atoms, EMT(), relax_cell=True, cell_mode=mode)
    ratio = result.atoms.cell.lengths() / atoms.cell.lengths()
    if expected == "shape":
        assert ratio == pytest.approx(ratio[0])
        assert abs(ratio[0] - 1) > 0.005
    else:
        assert result.atoms.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-6)
        assert np.ptp(ratio) > 0.01


def test_shape_mode_changes_angles_only():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell([3.6, 3.6, 3.6, 90, 90, 87], scale_atoms=True)
    result = relax(atoms, EMT(), relax_cell=True, cell_mode="shape", fmax=1e-3)
    assert result.atoms.cell.angles() == pytest.approx(90, abs=0.1)
    assert result.atoms.cell.lengths() == pytest.approx(3.6, rel=3e-3)


def test_a_slab_relaxes_in_its_plane_only():
    slab = fcc111("Cu", (1, 1, 3), a=3.5, vacuum=6.0)
    slab.pbc = (True, True, False)
    result = relax(slab, EMT(), relax_cell=True, fmax=0.02)
    assert result.converged
    assert result.atoms.cell[2] == pytest.approx(slab.cell[2])
    assert result.atoms.cell[0, 0] > 1.01 * slab.cell[0, 0]


def test_symmetry_is_kept():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell @ np.diag([1.0, 1.0, 1.05]), scale_atoms=True)
    result = relax(atoms, EMT(), relax_cell=True, fix_symmetry=True, steps=4)
    lengths = result.atoms.cell.lengths()
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-12)
    assert result.atoms.constraints == []  # the constraint is not left behind


def test_fixed_atoms_stay():
    slab = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    add_adsorbate(slab, "O", 1.0, "fcc")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    result = relax(slab, EMT(), fmax=0.05)
    assert result.converged
    assert np.array_equal(result.atoms.positions[:4], slab.positions[:4])
    assert len(result.atoms.constraints) == 1


def test_the_trajectory_holds_every_step(tmp_path):
    path = tmp_path / "new" / "cu-traj.extxyz"
    result = relax(strained(), EMT(), relax_cell=True, trajectory=path)
    frames = read(path, ":")
    assert [frame.info["step"] for frame in frames] == list(range(result.steps + 1))
    assert frames[-1].get_potential_energy() == pytest.approx(result.energy)
    assert frames[-1].get_stress() is not None


def test_progress_is_reported():
    seen = []
    result = relax(strained(), EMT(), on_step=seen.append)
    assert [state.step for state in seen] == list(range(result.steps + 1))
    assert seen[-1].max_force == result.max_force
    assert seen[0].energy == result.initial_energy


@pytest.mark.parametrize("failure", ["nan", "nan energy"])
def test_nan_stops_and_keeps_the_last_good_frame(failure):
    result = relax(molecule("H2O"), Springs(fail_at=4, failure=failure))
    assert result.reason == "nan"
    assert not result.converged
    assert result.steps == 2
    assert np.isfinite(result.energy)
    assert np.isfinite(result.atoms.positions).all()
    assert "last good frame" in result.message


def test_nan_in_the_first_step_returns_the_start():
    atoms = molecule("H2O")
    result = relax(atoms, Springs(fail_at=1, failure="nan"))
    assert result.reason == "nan"
    assert np.isnan(result.energy)
    assert result.row()["energy"] is None  # JSON has no NaN
    assert np.array_equal(result.atoms.positions, atoms.positions)


def test_positions_that_are_not_numbers_are_not_given_to_the_calculator(monkeypatch):
    def bad_step(self):
        self.optimizable.set_x(np.nan * self.optimizable.get_x())

    monkeypatch.setattr("ase.optimize.fire.FIRE.step", bad_step)
    calc = Springs()
    assert relax(molecule("H2O"), calc).reason == "nan"
    assert calc.calls == 1


def test_an_interrupted_relaxation_keeps_what_it_has(tmp_path):
    path = tmp_path / "traj.extxyz"
    result = relax(molecule("H2O"), Springs(fail_at=4, failure="interrupt"), trajectory=path)
    assert (result.reason, result.steps) == ("interrupted", 2)
    assert result.energy < result.initial_energy
    assert len(read(path, ":")) == 3


def test_an_error_of_the_calculator_keeps_what_it_has():
    result = relax(molecule("H2O"), Springs(fail_at=3, failure="error"))
    assert (result.reason, result.steps) == ("error", 1)
    assert "RuntimeError: out of memory" in result.message


def test_an_error_at_once_is_raised():
    with pytest.raises(RuntimeError, match="out of memory"):
        relax(molecule("H2O"), Springs(fail_at=1, failure="error"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fmx": 0.1}, "Did you mean 'fmax'"),
        ({"fmax": -1.0}, "'fmax'.*greater than 0.*-1.0"),
        ({"optimizer": "fires"}, "'optimizer'.*'FIRE'"),
        ({"pressure": 1.0}, "no effect without relax_cell"),
        ({"cell_mode": "shape"}, "no effect without relax_cell"),
        ({"fmax": float("nan")}, "'fmax'.*finite"),
    ],
)
def test_bad_options(changes, message):
    with pytest.raises(ConfigError, match=message):
        relax(strained(), EMT(), **changes)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "at least one atom"),
        (Atoms("Cu", positions=[[np.nan, 0, 0]]), "finite positions"),
        (Atoms("Cu", cell=[1, 1, 0], pbc=True), "do not span"),
    ],
)
def test_bad_structures(atoms, message):
    with pytest.raises(StructureError, match=message):
        relax(atoms, EMT())


@pytest.mark.parametrize(
    ("cell", "pbc", "changes", "message"),
    [
        (None, False, {"relax_cell": True}, "needs a periodic structure"),
        ([5, 5, 0], [True, True, False], {"relax_cell": True}, "three lattice vectors"),
        ([5, 5, 9], [True, True, False], {"relax_cell": True, "pressure": 0.1}, "three directions"),
        (
            [5, 5, 9],
            [True, True, False],
            {"relax_cell": True, "cell_mode": "hydrostatic"},
            "three directions",
        ),
        (
            [[5, 0, 1], [0, 5, 0], [0, 0, 9]],
            [True, True, False],
            {"relax_cell": True},
            "along the Cartesian axes",
        ),
        ([5, 5, 9], [True, True, False], {"fix_symmetry": True}, "fix_symmetry needs"),
    ],
)
def test_cells_that_cannot_be_relaxed(cell, pbc, changes, message):
    with pytest.raises(StructureError, match=message):
        relax(Atoms("Cu", cell=cell, pbc=pbc), EMT(), **changes)


def test_the_stress_is_judged_by_itself():
    loose = relax(strained(), EMT(), relax_cell=True, smax=0.1)
    tight = relax(strained(), EMT(), relax_cell=True, smax=1e-6)
    assert loose.max_stress > 1e-4
    assert tight.max_stress < 1e-6
    assert tight.atoms.cell.lengths() == pytest.approx(tight.atoms.cell.lengths()[0], abs=1e-4)
    assert relax(strained(), EMT(), relax_cell=True, smax=1e-6, steps=5).reason == "max_steps"
