"""Elementary steps of molecules, and geometries on the way."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from matkit.builders import MoleculesOptions, build_molecules
from matkit.builders.conformers import bonds_of, embedded
from matkit.builders.elementary_steps import REACH, steps
from matkit.builders.paths import HIGHEST, KEPT, paths
from matkit.label.calculator_engine import xtb_engine
from matkit.label.labels import Labels
from matkit.transition.likeness import bonds, rmsd

pytest.importorskip("rdkit")
# Of each: some products, and whether these are all.
KNOWN = {
    "CC=O": ({"C=CO", "C[C]O", "C.[C-]#[O+]", "C=C=O.[H][H]"}, True),
    "C#N": ({"[C-]#[NH+]"}, True),
    "CO": ({"C=O.[H][H]"}, True),
    "OC=O": ({"O=CO", "O.[C-]#[O+]", "O=C=O.[H][H]", "O[C]O"}, True),
    "CC(=O)OCC": ({"C=C.CC(=O)O", "C=C(O)OCC", "C=C=O.CCO"}, False),  # the first by a ring of six
    "CCN": ({"C=C.N"}, False),
    "CC#C": ({"C=C=C"}, True),
    "C1=CCC1": ({"C=CC=C"}, False),
    "C1CC1": ({"C=CC"}, False),
    "O": (set(), True),
    "C": (set(), True),
    "[H][H]": (set(), True),
}


def made(smiles, seed=1):
    molecule, atoms = embedded(smiles, seed)
    return molecule, atoms, steps(molecule, atoms.positions)


@pytest.mark.parametrize("smiles", KNOWN)
def test_known_steps(smiles):
    wanted, only = KNOWN[smiles]
    found = {step.smiles for step in made(smiles)[2]}
    assert wanted == found if only else wanted < found


def test_hydrogens_shift_along_double_bonds():
    """Malonaldehyde's enol to itself: the hydrogen goes round a ring of six to the other oxygen."""
    molecule, atoms, _ = made("O=C/C=C\\O")
    atoms.set_distance(0, 8, 2.0, fix=0)
    (own,) = [s for s in steps(molecule, atoms.positions) if s.smiles == "O=CC=CO" and s.formed]
    assert (own.formed, own.broken) == (((0, 8),), ((4, 8),))
    orders = {b.GetBondTypeAsDouble() for b in own.product.GetAtomWithIdx(0).GetBonds()}
    assert orders == {1.0}


@pytest.mark.parametrize("smiles", ["CC(=O)OCC", "NC=O", "C1=CCC1", "c1ccncc1O", "C[N+](=O)[O-]"])
def test_steps_keep_atoms_and_their_valences(smiles):
    molecule, atoms, found = made(smiles)
    before = {tuple(sorted(pair)) for pair in bonds_of(molecule)}
    assert found
    for step in found:
        numbers = [atom.GetAtomicNum() for atom in step.product.GetAtoms()]
        assert numbers == atoms.numbers.tolist()
        after = {tuple(sorted(pair)) for pair in bonds_of(step.product)}
        assert (after - before, before - after) == ({*step.formed}, {*step.broken})
        assert 0 < len(step.formed) + len(step.broken) <= 3
        radicals = [atom.GetNumRadicalElectrons() for atom in step.product.GetAtoms()]
        assert sum(radicals) == 2 * step.smiles.count("[C]")  # carbenes, as they are written
        assert sum(atom.GetFormalCharge() for atom in step.product.GetAtoms()) == 0
        assert all(atoms.get_distance(*pair) < REACH for pair in step.formed)


def test_no_product_has_atoms_on_a_line_in_a_small_ring():
    for smiles in ("C1CCC=C1", "c1ccccc1", "C1CC1=O", "O=C1CCCCC1"):
        for step in made(smiles)[2]:
            rings = step.product.GetRingInfo()
            for bond in step.product.GetBonds():
                size = rings.MinBondRingSize(bond.GetIdx())
                assert bond.GetBondTypeAsDouble() < 3 or not 0 < size < 8


def test_the_shortest_of_equal_steps_is_taken():
    """Any of three hydrogens can move to the oxygen of acetaldehyde."""
    _, atoms, found = made("CC=O")
    (enol,) = [step for step in found if step.smiles == "C=CO"]
    assert enol.formed[0] in {(2, 3), (2, 4), (2, 5)}
    nearest = min(atoms.get_distance(2, hydrogen) for hydrogen in (3, 4, 5))
    assert atoms.get_distance(*enol.formed[0]) == nearest


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("tblite")
    return xtb_engine("gfn2", {})


def found_paths(engine, smiles, seed=0, count=9):
    molecule, atoms = embedded(smiles, 1)
    options = MoleculesOptions(paths=count)
    return atoms, paths(molecule, atoms, engine, options, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("smiles", "products"),
    [
        ("CC=O", {"C=CO", "C.[C-]#[O+]", "C=C=O.[H][H]"}),
        ("C#N", {"[C-]#[NH+]"}),
        ("CO", {"C=O.[H][H]"}),
        ("OC=O", {"O=CO", "O.[C-]#[O+]"}),
    ],
)
def test_paths_lead_over_a_barrier_to_what_they_say(engine, smiles, products):
    atoms, found = found_paths(engine, smiles)
    expected = {step.smiles: step for step in made(smiles)[2]}
    assert products <= {path.product for path in found} <= expected.keys()
    for path in found:
        step = expected[path.product]
        assert bonds(path.end) - bonds(atoms) == {*step.formed}
        assert bonds(atoms) - bonds(path.end) == {*step.broken}
        labels = engine.labels([atoms, path.end, *path.images])
        energies = np.array([one.energy for one in labels if isinstance(one, Labels)])
        assert len(energies) == 2 + KEPT
        above = energies[2:].max() - energies[:2].max()
        assert 0 < above < HIGHEST
        for image in path.images:
            assert image.numbers.tolist() == atoms.numbers.tolist()
            assert image.get_all_distances()[np.triu_indices(len(image), 1)].min() > 0.6
            assert min(rmsd(image, atoms), rmsd(image, path.end)) > 0.05


def test_paths_are_those_of_their_seed(engine):
    first, again, other = (found_paths(engine, "CC=O", seed, 1)[1][0] for seed in (0, 0, 3))
    assert first.product == again.product != other.product
    for one, two in zip(first.images, again.images, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


def test_molecules_without_steps(engine):
    assert found_paths(engine, "O")[1] == []
    assert found_paths(engine, "CC=O", count=0)[1] == []


def test_a_way_that_cannot_be_computed_is_none(engine, monkeypatch):
    """As where the SCF of an image does not converge."""
    real = engine.labels
    monkeypatch.setattr(engine, "labels", lambda all: [*real(all)[:-1], "no"])
    assert found_paths(engine, "C#N")[1] == []


def test_a_product_that_falls_back_is_none(engine, monkeypatch):
    monkeypatch.setattr("matkit.builders.paths._folded", lambda step, relaxed: relaxed.copy())
    assert found_paths(engine, "C#N")[1] == []


def test_a_product_without_force_field_is_none(engine, monkeypatch):
    monkeypatch.setattr("matkit.builders.paths._force_field", lambda product: None)
    assert found_paths(engine, "C#N")[1] == []


def test_paths_are_written_with_both_ends(engine, tmp_path):
    (tmp_path / "list.smi").write_text("C#N\nO\nOC=O\n")
    out = tmp_path / "out"
    options = MoleculesOptions(
        struct=[str(tmp_path / "list.smi")], out=str(out), held_out=0.0, temperatures=[]
    )
    built = build_molecules(options)["train"]
    frames: list[Atoms] = [a for a in read(out / "train.extxyz", ":") if "product" in a.info]
    assert built.pathless == 1
    assert [a.info["config_type"] for a in frames] == ["path"] * len(frames)
    ends = {(str(a.info["parent"]), str(a.info["product"])) for a in frames}
    assert ("C#N", "[C-]#[NH+]") in ends
    assert {parent for parent, _ in ends} == {"C#N", "O=CO"}
    assert len(frames) == 2 * KEPT
    assert {str(a.symbols.formula.count()) for a in frames if a.info["parent"] == "C#N"} == {
        "{'C': 1, 'N': 1, 'H': 1}"
    }
    before, ledger = (out / "train.extxyz").read_bytes(), out / "train.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    build_molecules(options)
    assert (out / "train.extxyz").read_bytes() == before
