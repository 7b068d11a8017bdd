"""The data of the organic potential: what is replaced, charged, and put side by side."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matkit.data.dataset import read_dataset
from matkit.data.response_pairs import pair_numbers

pytest.importorskip("rdkit")
pytest.importorskip("tblite")
Chem = pytest.importorskip("rdkit.Chem")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def experiment(monkeypatch):
    """Import a script of the experiments by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module


@pytest.fixture
def molecules():
    made = [molecule("H2O"), molecule("CH4")]
    for atoms in made:
        atoms.info["group"] = str(atoms.symbols)
    return made


def test_one_atom_is_replaced_where_valences_allow_it(experiment):
    replaced = experiment("organic_dataset").replaced
    ethanol, rng = Chem.MolFromSmiles("CCO"), np.random.default_rng(0)
    made = {Chem.MolToSmiles(found) for _ in range(60) if (found := replaced(ethanol, rng))}
    assert made == {"CCS", "CBO", "CNO", "C[SiH2]O", "BCO", "NCO", "OC[SiH3]"}


@pytest.mark.parametrize(
    ("smiles", "ion"), [("CC(=O)O", "CC(=O)[O-]"), ("CCN", "CC[NH3+]"), ("CCC", None)]
)
def test_ions_are_acids_without_and_amines_with_a_proton(experiment, smiles, ion):
    ionised, rng = experiment("organic_dataset").ionised, np.random.default_rng(0)
    made = [ionised(Chem.MolFromSmiles(smiles), rng) for _ in range(20)]
    assert {Chem.MolToSmiles(found) for found in made if found} == ({ion} if ion else set())


def test_dimers_are_followed_by_the_same_molecules_apart(experiment, molecules, tmp_path):
    module = experiment("organic_dataset")
    made = [*module.dimers(module.dimer, molecules, 3, number=0)]
    for atoms in made:
        atoms.info["REF_energy"] = 0.0
    write(tmp_path / "dimers.extxyz", made)
    assert pair_numbers(read_dataset(tmp_path / "dimers.extxyz")).tolist() == [0, 0, 2, 2, 4, 4]
    for near, far in zip(made[::2], made[1::2], strict=True):
        assert near.info["group"] == far.info["group"]
        assert np.linalg.norm(far.positions - near.positions, axis=1).max() == pytest.approx(30)


def test_nothing_to_learn_from_has_the_formula_of_a_complex_to_be_tested_on(experiment, molecules):
    """The dimers of water and of methane are complexes of S22."""
    module = experiment("organic_dataset")
    made = module.dimers(module.dimer, molecules, 4, number=1)
    assert {atoms.get_chemical_formula() for atoms in made} == {"CH6O"}


def test_rings_have_two_hydrogen_bonds(experiment):
    module, rng = experiment("organic_dataset"), np.random.default_rng(0)
    acid = molecule("HCOOH")
    acid.info["group"] = "acid"
    (place,) = module.donors_beside_acceptors(acid)
    assert [acid.symbols[i] for i in place] == ["H", "O", "C"]
    assert module.donors_beside_acceptors(molecule("CH3CH2OH")) == []
    for _ in range(5):
        pair, first, direction = module.ring([acid], rng)
        hydrogen, acceptor, _ = place
        bonds = [
            pair.get_distance(hydrogen, first + acceptor),
            pair.get_distance(acceptor, first + hydrogen),
        ]
        assert 1.2 < min(bonds) <= max(bonds) < 3.2
        assert (pair.positions[first:] - pair.positions[:first]).mean(axis=0) @ direction > 0


def test_every_second_pair_is_pushed_together(experiment, molecules):
    module = experiment("organic_dataset")
    given = [*module.dimers(module.dimer, molecules, 4, number=0)]
    nearer = [*module.pushed_together(given, np.random.default_rng(0))]
    assert len(nearer) == 4
    for (pair, apart), (before, _) in zip(
        (nearer[:2], nearer[2:]), (given[:2], given[4:6]), strict=True
    ):
        assert pair.info["group"] == apart.info["group"] == before.info["group"]
        moved = np.linalg.norm(pair.positions - before.positions, axis=1)
        assert len({*moved.round(9)}) == 2
        assert moved.min() == 0
        assert 0.1 <= moved.max() <= 0.6
        # Towards each other: what is apart is 30 Å farther than before.
        away = np.linalg.norm(apart.positions - pair.positions, axis=1).max()
        assert away == pytest.approx(30 + moved.max())


def test_fragments_are_what_one_cut_or_each_leaves(experiment):
    fragments = experiment("organic_dataset").fragments
    chain = Chem.MolFromSmiles("CCCN")
    assert [Chem.MolToSmiles(one) for one in fragments(chain)] == ["CC", "CN"]
    every = [Chem.MolToSmiles(one) for one in fragments(chain, every=True)]
    assert every == ["C", "CCN", "CC", "CN", "CCC", "N"]


def test_interactions_are_what_a_complex_has_beyond_its_molecules(experiment):
    module, labelled, made = experiment("organic"), [], []
    # Energies of label and prediction: the molecules, then the complex.
    for kind, given, found in (("monomer", -5, -4), ("monomer", -3, -3), ("complex", -9, -9)):
        one = Atoms("He")
        one.info = {"config_type": kind, "group": "g", "REF_energy": given, "factor": 1.0}
        labelled.append(one)
        made.append(Atoms("He", calculator=SinglePointCalculator(Atoms("He"), energy=found)))
    (row,) = module.interactions(labelled, made)
    assert row["mean size"] == pytest.approx(1 / module.KCAL)
    assert row["MAE"] == pytest.approx(1 / module.KCAL)
