import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.data.ase import differences, from_ase, to_ase
from matkit.errors import StructureError
from matkit.testing.systems import SYSTEMS, crystal, water


@pytest.mark.parametrize("system", SYSTEMS)
def test_round_trip(system):
    atoms = SYSTEMS[system]()
    (back,) = to_ase(from_ase(atoms))
    assert back == atoms


def test_batches_keep_order_and_input_is_not_touched():
    items = [make() for make in SYSTEMS.values()]
    copies = [atoms.copy() for atoms in items]
    assert to_ase(from_ase(items)) == copies
    assert items == copies


def test_non_contiguous_positions():
    atoms = crystal()
    atoms.arrays["positions"] = np.asfortranarray(atoms.positions)
    assert torch.equal(from_ase(atoms).positions, from_ase(crystal()).positions)


@pytest.mark.parametrize(
    ("info", "charge", "spin"),
    [
        ({"charge": -1, "spin": 2}, -1, 2),
        ({"total_charge": 1, "spin_multiplicity": 3}, 1, 3),
        ({"charge": 0, "total_charge": 0, "total_spin": 1}, 0, 1),
        ({"charge": None, "total_charge": 2, "spin": "None", "total_spin": [3]}, 2, 3),
        ({"charge": np.array([1]), "spin": np.array(2)}, 1, 2),
        ({"charge": np.float32(-1), "spin": np.int64(3)}, -1, 3),
        ({"charge": "+1", "spin": "1.0"}, 1, 1),
        ({"charge": (b" -2 ",), "spin": torch.tensor([2.0])}, -2, 2),
    ],
)
def test_charge_and_spin_are_read(info, charge, spin):
    atoms = water()
    atoms.info.update(info)
    system = from_ase(atoms).system
    assert (float(system["charge"]), float(system["spin"])) == (charge, spin)


@pytest.mark.parametrize(
    ("info", "key"),
    [
        ({"charge": "one"}, "charge"),
        ({"charge": "1_0"}, "charge"),
        ({"charge": 1 + 0j}, "charge"),
        ({"charge": np.complex128(1)}, "charge"),
        ({"charge": True}, "charge"),
        ({"charge": np.bool_(False)}, "charge"),
        ({"charge": float("nan")}, "charge"),
        ({"total_charge": np.inf}, "total_charge"),
        ({"charge": 10**400}, "charge"),
        ({"charge": np.array([0.1, -0.1])}, "charge"),
        ({"charge": [[1], [1, 2]]}, "charge"),
        ({"charge": {"value": 1}}, "charge"),
        ({"spin": 0}, "spin"),
        ({"spin": 1.5}, "spin"),
        ({"spin_multiplicity": "-1"}, "spin_multiplicity"),
        ({"total_spin": np.zeros(3)}, "total_spin"),
    ],
)
def test_a_charge_or_spin_that_is_none_is_refused_by_its_key(info, key):
    atoms = water()
    atoms.info.update(info)
    with pytest.raises(StructureError, match=rf"info\['{key}'\].*got .*{type(info[key]).__name__}"):
        from_ase(atoms)
    with pytest.raises(StructureError, match=rf"info\['{key}'\] in structure 1"):
        from_ase([water(), atoms])


def test_two_charges_that_contradict_each_other_are_refused():
    atoms = water()
    atoms.info.update(charge=0, total_charge=5)
    with pytest.raises(StructureError, match="charge = 0 and total_charge = 5"):
        from_ase(atoms)


def test_a_charge_is_not_lost_beside_structures_that_do_not_say():
    charged = water()
    charged.info["charge"] = 1
    assert from_ase([water(), charged]).system["charge"].tolist() == [0, 1]
    assert from_ase([water(), water()]).system == {}


def test_targets_come_back():
    structures = from_ase(water()).replace(
        atom={"forces": torch.ones(3, 3)}, system={"energy": torch.tensor([2.0])}
    )
    (atoms,) = to_ase(structures)
    assert atoms.arrays["forces"].shape == (3, 3)
    assert atoms.info["energy"] == 2.0


def bad(positions=None, cell=None, pbc=None) -> Atoms:
    atoms = water()
    if positions is not None:
        atoms.positions[1] = positions
    if cell is not None:
        atoms.cell = cell
    if pbc is not None:
        atoms.pbc = pbc
    return atoms


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "at least one atom"),
        (bad(positions=[np.nan, 0, 0]), r"NaN or infinity for atom\(s\) 1"),
        (bad(positions=[np.inf, 0, 0]), r"NaN or infinity for atom\(s\) 1"),
        (bad(cell=[np.nan, 1, 1]), "finite cell"),
        (bad(pbc=True), "do not span a volume"),
        (bad(cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True), "do not span a volume"),
        (bad(cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=[1, 1, 0]), "do not span an area"),
        (bad(cell=[0, 5, 5], pbc=[1, 0, 0]), "do not span a length"),
    ],
)
def test_bad_structures_are_refused(atoms, message):
    with pytest.raises(StructureError, match=message):
        from_ase(atoms)
    with pytest.raises(StructureError, match="in structure 1"):
        from_ase([water(), atoms])


def test_an_empty_list_is_refused():
    with pytest.raises(StructureError, match="at least one structure"):
        from_ase([])


def test_long_lists_of_bad_atoms_are_cut():
    atoms = Atoms("H20", positions=np.full((20, 3), np.nan))
    with pytest.raises(StructureError, match=r"0, 1, 2, 3, 4, 5, 6, 7, ... \(20 in all\)"):
        from_ase(atoms)


def test_what_differs_of_two_structures_is_named_as_ase_does():
    before = Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0]], cell=[8, 8, 8], pbc=True)
    assert differences(before, before.copy()) == []
    after = before.copy()
    after.positions[0, 0] += 1e-12
    after.set_cell([8, 8, 9])
    after.pbc[0] = False
    after.numbers[1] = 9
    after.set_initial_charges([0, 0, 1])
    after.set_array("tags", np.array([1, 2, 3]))
    after.info["charge"] = 1
    expected = {"positions", "cell", "pbc", "numbers", "initial_charges", "info"}
    assert set(differences(before, after)) == expected
