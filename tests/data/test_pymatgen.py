import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Molecule, Structure

from matkit.data.pymatgen import from_pymatgen, to_pymatgen
from matkit.errors import MissingExtraError


def test_round_trip_of_a_crystal_and_a_molecule():
    crystal = Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    molecule = Molecule(["O", "H"], [[0, 0, 0], [0, 0, 0.97]])
    batch = from_pymatgen([crystal, molecule])
    assert batch.n_atoms.tolist() == [2, 2]
    assert batch.pbc.tolist() == [[True] * 3, [False] * 3]
    back_crystal, back_molecule = to_pymatgen(batch)
    assert back_crystal == crystal
    assert np.allclose(back_molecule.cart_coords, molecule.cart_coords)
    assert back_molecule.spin_multiplicity == 2


def test_charge_of_a_molecule_is_kept():
    hydroxide = Molecule(["O", "H"], [[0, 0, 0], [0, 0, 0.97]], charge=-1)
    batch = from_pymatgen(hydroxide)
    assert float(batch.system["charge"]) == -1
    assert to_pymatgen(batch)[0].charge == -1


def test_a_missing_pymatgen_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymatgen.io.ase", None)
    with pytest.raises(MissingExtraError, match="pip install pymatgen-core"):
        from_pymatgen([Molecule(["O"], [[0, 0, 0]])])
