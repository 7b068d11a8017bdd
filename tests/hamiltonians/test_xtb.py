"""Matrices of GFN2-xTB: orders, energies, labels and what a network of them can be asked for."""

import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import write

pytest.importorskip("tblite")
pytest.importorskip("pyscf")

from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from matkit import train
from matkit.errors import ConfigError, MissingExtraError, SimulationError, StructureError
from matkit.evaluate.api import EvaluationListener
from matkit.evaluate.hamiltonian_files import evaluate_hamiltonians
from matkit.evaluate.options import EvaluateOptions
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.hamiltonians.methods import overlap_at, shells_at
from matkit.hamiltonians.orders import from_pyscf
from matkit.hamiltonians.xtb import gfn2, gfn2_shells
from matkit.interop.pyscf import guess
from matkit.label import LabellingOptions, label
from matkit.train.hamiltonian_options import HamiltonianOptions
from tests.hamiltonians.test_orders import rotated, turned

MODEL = {"name": "qhnet", "lmax": 2, "channels": 8, "pair_channels": 4, "layers": 1}
MODEL |= {"pair_layers": 1, "cutoff": 5.0}


def test_shells_are_those_of_the_minimal_basis_lowest_first():
    assert gfn2_shells([1, 8, 14, 26]) == {1: (0,), 8: (0, 1), 14: (0, 1, 2), 26: (0, 1, 2)}
    assert shells_at("gfn2", [1]) == {1: (0,)}
    with pytest.raises(SimulationError, match=r"atoms of numbers \[95\]"):
        gfn2_shells([95])


@pytest.mark.parametrize("name", ["H2O", "SiH4"])
def test_matrices_turn_with_the_molecule(name):
    turn = Rotation.random(random_state=1).as_matrix()
    atoms = molecule(name)
    atoms.rattle(0.05, seed=0)
    shells = gfn2_shells(atoms.numbers.tolist())
    found = [gfn2(a).states for a in (atoms, rotated(atoms, turn))]
    degrees = [degree for z in atoms.numbers.tolist() for degree in shells[z]]
    matrix = block_diag(*(turned(degree, turn) for degree in degrees))
    for key, tolerance in (("overlap", 1e-10), ("hamiltonian", 1e-4)):
        before, after = (from_pyscf(getattr(s, key), atoms.numbers, shells) for s in found)
        np.testing.assert_allclose(after, matrix @ before @ matrix.T, atol=tolerance)
        assert abs(after - before).max() > 0.05, "the test can fail"


def test_shells_of_metals_are_sorted():
    """An s orbital of hydrogen overlaps with s, p along the axis, and d of one kind."""
    atoms = Atoms("FeH2", [[0, 0, 0], [0, 0, 1.6], [0, 0, -1.6]])
    overlap = overlap_at("gfn2", atoms)[0]
    assert np.flatnonzero(abs(overlap[:9, 9]) > 1e-6).tolist() == [0, 3, 6]


def test_levels_energy_and_forces_are_those_of_tblite():
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    found = gfn2(atoms)
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-5)
    states = found.states
    product = states.hamiltonian @ states.coefficients
    expected = states.overlap @ states.coefficients * states.levels
    np.testing.assert_allclose(product, expected, atol=1e-9)
    assert (states.electrons, states.gap > 5) == (14, True)


def test_what_is_no_closed_shell_is_refused():
    with pytest.raises(SimulationError, match="odd number of electrons"):
        gfn2(molecule("CH3"))
    atoms = molecule("H2O")
    atoms.info["charge"] = 2
    with pytest.raises(StructureError, match="charge 2"):
        gfn2(atoms)
    with pytest.raises(SimulationError, match=r"atoms of numbers \[1, 1\]: Too close"):
        gfn2(Atoms("H2", [[0, 0, 0], [0, 0, 0]]))


def test_a_missing_tblite_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(MissingExtraError, match="matkit\\[xtb\\]"):
        gfn2_shells([1])


def test_labels_train_a_network_that_gives_states_alone(tmp_path):
    frames, rng = [molecule(name) for name in ("H2O", "H2O", "H2")], np.random.default_rng(0)
    for atoms in frames:
        atoms.rattle(0.05, rng=rng)
    write(tmp_path / "in.extxyz", frames)
    label(tmp_path / "in.extxyz", tmp_path / "out", LabellingOptions(hamiltonian="gfn2"))
    document = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert document["calculator"]["level"] == "GFN2-xTB"
    given = {"train_file": [str(tmp_path / "out")], "valid_fraction": 0.0, "model": MODEL}
    given |= {"work_dir": str(tmp_path), "max_num_epochs": 1, "report": False, "batch_size": 3}
    done = train(HamiltonianOptions(**given))
    calculator = HamiltonianCalculator(done.model)
    assert calculator.states(frames[0]).electrons == 8
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_potential_energy(frames[0])
    with pytest.raises(ConfigError, match="got one of gfn2, whose orbitals PySCF does not know"):
        guess(frames[0], calculator)
    options = {"model": str(done.model), "struct": [str(tmp_path / "out")], "hamiltonian": True}
    found, metrics = evaluate_hamiltonians(
        EvaluateOptions(**options, out=str(tmp_path / "errors")), EvaluationListener()
    )
    assert found.molecules == 3
    assert found.errors.keys() == {"hamiltonian", "diagonal", "off_diagonal", "occupied", "gap"}
    assert metrics["scf"] is None
