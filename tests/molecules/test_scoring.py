"""All scores of a set of molecules, and that the dear stages go on where they were stopped."""

import pickle
from contextlib import nullcontext

import numpy as np
import pytest
from ase.build import molecule

from matkit.errors import ConfigError, DataError, MissingExtraError
from matkit.generate import relaxing
from matkit.generate.relaxing import Relaxer, RelaxingPotential
from matkit.molecules import chemnet, poses
from matkit.molecules.judging import DrawnMolecule
from matkit.molecules.options import MoleculeScoreOptions
from matkit.molecules.scoring import MoleculeSets, evaluate_molecules
from matkit.molecules.stages import Workplace
from matkit.options import build


def drawn(*names):
    return [DrawnMolecule(name, molecule(name)) for name in names]


@pytest.fixture
def evaluated(tmp_path):
    def run(generated, reference=(), known=None, **changes):
        options = build(MoleculeScoreOptions, {"reference": ["x"] if reference else [], **changes})
        folder = tmp_path / str(options.workers)
        place = Workplace(
            folder, options.workers, "local", options.overwrite, lambda stage: nullcontext()
        )
        return evaluate_molecules(MoleculeSets(generated, reference, known), options, place)

    return run


def values(evaluation):
    return {score.name: (score.value, score.reference) for score in evaluation.scores}


def test_a_reference_adds_distances(evaluated):
    names = ("CH4", "C2H6", "CH3OH", "H2O", "C2H4", "NH3")
    found = values(evaluated(drawn(*names), drawn(*names, *names), known={"C"}))
    assert found["W sizes"][0] == pytest.approx(0)
    assert found["W bond lengths"][0] == pytest.approx(0, abs=1e-9)
    assert found["novel"] == (pytest.approx(5 / 6), None)
    assert found["unique"] == (1, 0.5)


def test_at_most_so_many_of_the_reference_are_judged(evaluated):
    found = evaluated(drawn("CH4"), drawn("CH4", "H2O", "NH3", "C2H2"), draw=2)
    assert len(found.reference) == 2


def test_gfn2_relaxes_and_the_ledger_goes_on(evaluated, monkeypatch):
    pytest.importorskip("tblite")
    squeezed = drawn("CH4", "CH3")
    squeezed[0].atoms.positions *= 0.95
    squeezed.append(DrawnMolecule("torn", None, "torn"))
    evaluation = evaluated(squeezed, relax="gfn2")
    found = values(evaluation)
    assert 2 < found["relaxation energy (gfn2)"][0] < 60
    assert found["bonds kept (gfn2)"][0] == pytest.approx(2 / 3)
    assert evaluation.strains[0]["smiles_relaxed"] == "C"

    def never(*_args):
        raise AssertionError("it was relaxed again")

    monkeypatch.setattr(relaxing, "_alone", never)
    assert values(evaluated(squeezed, relax="gfn2")) == found
    with pytest.raises(ConfigError, match="begun with other settings"):
        evaluated(squeezed, relax="gfn2", fmax=0.5)


def test_ions_are_relaxed_with_their_charge(evaluated):
    pytest.importorskip("tblite")
    ion = molecule("OH")
    del ion.arrays["initial_magmoms"]  # of the radical
    ion.set_array("formal_charge", np.array([-1, 0]))
    ion.info |= {"bonds": np.array([[0, 1]]), "bond_order": np.array([1.0])}
    evaluation = evaluated([DrawnMolecule("ion", ion)], relax="gfn2")
    assert evaluation.strains[0]["bonds_kept"]
    assert "charge" not in ion.info


def test_posebusters_is_a_share_of_all(evaluated):
    pytest.importorskip("posebusters")
    evaluation = evaluated(drawn("CH4", "CH3"), drawn("H2O"), posebusters="mol_fast")
    assert values(evaluation)["PoseBusters mol_fast"] == (0.5, 1)
    assert "no bonds fit" in evaluation.poses[1]["reason"]


def test_what_is_missing_is_said_before_anything_is_judged(evaluated, monkeypatch):
    def absent():
        raise MissingExtraError("not there")

    for module, changes in ((poses, {"posebusters": "mol"}), (chemnet, {"fcd": True})):
        monkeypatch.setattr(module, "check_installed", absent)
        with pytest.raises(MissingExtraError, match="not there"):
            evaluated(drawn("CH4"), drawn("CH4"), **changes)


def test_nothing_cannot_be_judged(evaluated):
    with pytest.raises(DataError, match="Expected molecules to judge, got none"):
        evaluated([])


def test_fcd_needs_a_reference():
    with pytest.raises(ConfigError, match="fcd compares with a reference"):
        build(MoleculeScoreOptions, {"fcd": True})


def test_work_can_be_sent_to_other_processes():
    relaxer = Relaxer(RelaxingPotential("gfn2", "cpu"), 10, 0.1, "molecule")
    for work in (poses.PoseBuster("mol"), relaxer):
        assert pickle.loads(pickle.dumps(work)) == work


@pytest.mark.slow
def test_two_workers_find_what_one_finds(evaluated):
    pytest.importorskip("posebusters")
    pytest.importorskip("tblite")
    some = drawn("CH4", "CH3", "C2H6", "CH3OH", "NH3", "H2O")
    for one in some:
        one.atoms.positions *= 1.02
    asked = {"relax": "gfn2", "posebusters": "mol_fast"}
    alone, together = (evaluated(some, **asked, workers=count) for count in (1, 2))
    assert values(together) == values(alone)
    assert together.strains == alone.strains
    reasons = ({i: row["reason"] for i, row in e.poses.items()} for e in (alone, together))
    assert next(reasons) == next(reasons)


@pytest.mark.slow
def test_fcd_is_smaller_to_what_is_alike(evaluated):
    pytest.importorskip("fcd")
    alcohols = drawn("CH3OH", "CH3CH2OH", "H2O", "isobutane", "C2H6", "C3H8")
    rings = drawn("C6H6", "C4H4NH", "C4H4O", "C5H5N", "C4H4S", "CH3CN")
    same, other = (
        values(evaluated(alcohols, reference, fcd=True))["FCD"][0]
        for reference in (alcohols, rings)
    )
    assert same == pytest.approx(0, abs=1e-3)
    assert other > 1
