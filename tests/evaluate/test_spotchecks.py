import numpy as np
import pytest
from ase import Atoms

from matkit.evaluate.figures import energy_volume_figure, nve_figure
from matkit.evaluate.spotchecks import bare_atoms, pick_structure
from tests.evaluate.labelled import dataset, frames


def test_the_structure_nearest_to_rest_is_picked(tmp_path):
    atoms = frames()
    atoms[4].arrays["REF_forces"][:] = 0.01
    data = dataset(tmp_path, atoms)
    assert pick_structure(data) == 4
    bare = bare_atoms(data, 4)
    assert bare.info == {}
    assert bare.arrays.keys() == {"numbers", "positions"}
    assert bare.positions == pytest.approx(atoms[4].positions, abs=1e-7)


def test_small_structures_are_picked_first(tmp_path):
    """Of large ones dynamics were skipped."""
    atoms = frames()
    large = atoms[0] * (2, 3, 4)
    large.arrays["REF_forces"][:] = 0.0
    assert len(large) > 64
    assert pick_structure(dataset(tmp_path, [large, *atoms[:2]])) in (1, 2)
    assert pick_structure(dataset(tmp_path, [large])) == 0


def test_single_atoms_are_never_picked(tmp_path):
    atom = Atoms("Na", cell=3 * np.eye(3), pbc=True)
    atom.info["REF_energy"] = 1.0
    atom.set_array("REF_forces", np.zeros((1, 3)))
    assert pick_structure(dataset(tmp_path, [atom])) is None
    assert pick_structure(dataset(tmp_path, [atom, frames()[3]])) == 1


def test_every_model_has_a_curve():
    curve = {"volume": [1.0, 2.0], "energy": [-5.0, -4.9]}
    (axes,) = energy_volume_figure({"before": curve, "after": curve}).axes
    assert [line.get_label() for line in axes.lines] == ["before", "after"]
    assert axes.lines[0].get_ydata() == pytest.approx([0.0, 100.0])
    (axes,) = nve_figure({"after": {"time": [0.0, 1.0], "total_energy": [0.0, 0.2]}}).axes
    assert axes.lines[0].get_ydata() == pytest.approx([0.0, 0.2])
