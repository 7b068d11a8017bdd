"""All scores of small sets with known verdicts."""

import csv
import io
import subprocess
import sys

import pytest
from ase.calculators.lj import LennardJones

from matkit import crystals
from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.pages import crystals_page, histograms
from matkit.crystals.results import Energetics
from matkit.crystals.stability import Hull
from matkit.crystals.writing import counts_of, match_cells, structures_csv
from matkit.errors import DataError
from matkit.evaluate.scores import score_cells
from tests.crystals import samples
from tests.report.sources import external_sources

REFERENCE = [samples.salt(), samples.perovskite(), samples.wurtzite()]
GENERATED = [
    samples.disguised(samples.salt()),
    samples.disguised(samples.salt(), 1),
    samples.caesium_chloride(),
    samples.colliding(),
    None,
    samples.perovskite(second="Ar"),
]


def entries(structures):
    return [samples.entry(s, f"made[{i}]") for i, s in enumerate(structures)]


def run(generated, reference=None, known=None, energetics=None, **options):
    sets = {"generated": generated, "reference": reference, "known": known}
    given = {name: entries(found) for name, found in sets.items() if found}
    names = {"reference": ["ref"]} if reference else {}
    made = CrystalsOptions(struct=["made"], **names, **options)
    return evaluate_crystals(given, made, energetics)


def values(evaluation):
    return {score.name: score.value for score in evaluation.scores}


def test_scores_of_known_crystals():
    evaluation = run(GENERATED, REFERENCE)
    found = values(evaluation)
    assert found["constructed"] == pytest.approx(5 / 6)
    assert found["structural validity"] == pytest.approx(4 / 6)
    assert found["compositional validity"] == pytest.approx(4 / 6)
    assert found["validity"] == pytest.approx(3 / 6)
    assert found["uniqueness"] == pytest.approx(4 / 5)
    assert found["novelty"] == pytest.approx(3 / 5)
    assert found["unique and novel"] == pytest.approx(3 / 5)
    # Valid ones have two elements; the reference 2, 3 and 2.
    assert found["W number of elements"] == pytest.approx(1 / 3)
    theirs = {score.name: score.reference for score in evaluation.scores}
    assert theirs["validity"] == theirs["uniqueness"] == 1
    assert all(score.protocol and score.of for score in evaluation.scores)


def test_a_set_against_itself():
    evaluation = run(REFERENCE, REFERENCE, samples=1, coverage="mp-20")
    found = values(evaluation)
    assert found["novelty"] == 0
    assert found["COV-R"] == found["COV-P"] == 1
    for name in ("W density", "W number of elements", "W volume"):
        assert found[name] == 0
    assert {(m.rate, m.ceiling) for m in evaluation.matches} == {(1.0, 1.0)}
    assert max(m.rmse for m in evaluation.matches) < 1e-6


def test_several_samples():
    generated = [
        *(samples.caesium_chloride(), samples.disguised(samples.salt())),
        *(samples.perovskite(), samples.wurtzite()),
        *(None, samples.salt()),
    ]
    rows = run(generated, REFERENCE, samples=2).matches
    rates = {m.samples: m.rate for m in rows if m.gate == "off" and m.tolerances.name == "CDVAE"}
    assert rates == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}


def test_the_gate_lowers_the_ceiling():
    odd = [samples.salt(), samples.perovskite(second="Ar")]
    rows = run(odd, odd, samples=1).matches
    found = {(m.gate, m.tolerances.name): (m.rate, m.ceiling) for m in rows}
    assert found["off", "CDVAE"] == (1.0, 1.0)
    assert found["prediction", "CDVAE"] == found["both", "pymatgen"] == (0.5, 0.5)


def test_novelty_against_a_training_set():
    evaluation = run([samples.salt(), samples.wurtzite()], REFERENCE, [samples.wurtzite()])
    assert values(evaluation)["novelty"] == 0.5
    (novelty,) = (score for score in evaluation.scores if score.name == "novelty")
    assert novelty.reference == pytest.approx(2 / 3)
    (both,) = (score for score in evaluation.scores if score.name == "unique and novel")
    assert (both.value, both.reference) == (0.5, pytest.approx(2 / 3))


def test_alone():
    evaluation = run([samples.salt()])
    assert "novelty" not in values(evaluation)
    assert {score.reference for score in evaluation.scores} == {None}


def test_stability():
    def energetics(*levels):
        return Energetics(LennardJones(sigma=2.0, epsilon=0.1), "lj", Hull(levels))

    made = [samples.salt(), samples.disguised(samples.salt()), samples.perovskite(), None]
    lowest = run(made, energetics=energetics()).generated.energies[0]
    phases = [("Na", 0.0), ("Cl", 0.0), ("NaCl", lowest - 0.05)]
    evaluation = run(made, [samples.wurtzite()], energetics=energetics(*phases))
    found = values(evaluation)
    assert evaluation.generated.above_hull[0] == pytest.approx(0.05)
    assert evaluation.generated.above_hull[2:] == [None, None]
    assert found["stable@0.1"] == 0.5
    assert found["S.U.N. (stable@0.1)"] == 0.25
    assert found["W energy"] > 0
    strict = run(made, energetics=energetics(*phases), stable=0.01)
    assert values(strict)["stable@0.01"] == 0
    protocols = [s.protocol for s in evaluation.scores if "stable" in s.name]
    assert all("with lj" in text and "2 without" in text for text in protocols)
    # Of the reference: one is stable, unique and novel, one its twin, one known.
    pair = [samples.salt(), samples.disguised(samples.salt()), samples.perovskite()]
    judged = run(made, pair, [samples.perovskite()], energetics=energetics(*phases))
    (sun,) = (score for score in judged.scores if "S.U.N." in score.name)
    assert (sun.value, sun.reference) == (0.25, pytest.approx(1 / 3))


def test_predictions_must_pair_with_the_reference():
    with pytest.raises(DataError, match="Expected 2 crystals for each of the 3"):
        run(GENERATED[:5], REFERENCE, samples=2)


def test_the_table_of_structures():
    evaluation = run(GENERATED, REFERENCE)
    rows = list(csv.DictReader(io.StringIO(structures_csv(evaluation))))
    assert [row["source"] for row in rows] == [f"made[{i}]" for i in range(6)]
    assert [row["valid"] for row in rows] == ["True", "True", "True", "False", "False", "False"]
    assert [row["unique"] for row in rows] == ["True", "False", "True", "True", "", "True"]
    assert [row["novel"] for row in rows] == ["False", "False", "True", "True", "", "True"]
    assert rows[1]["like"] == "made[0]"
    assert rows[0]["space_group_0.01"] == rows[0]["space_group_0.1"] == "225"
    assert rows[0]["formula"] == "Na8Cl8"
    assert float(rows[3]["closest"]) == pytest.approx(0.4)
    assert rows[4]["reason"] == "unreadable"
    assert rows[0]["energy_per_atom"] == ""


def test_counts():
    found = counts_of(run(GENERATED).generated)
    assert (found["entries"], found["loaded"], found["failed"]) == (6, 5, 1)
    assert found["reasons"] == {"made[4]": "unreadable"}


def test_the_page():
    evaluation = run(REFERENCE, REFERENCE, samples=1)
    metrics = {
        "counts": {"generated": counts_of(evaluation.generated)},
        "options": {"seed": 0},
        "versions": {},
    }
    text = crystals_page(evaluation, metrics)
    assert "data:image/png;base64," in text
    assert external_sources(text) == []
    assert text.count("<canvas") == 3
    for cell in (*score_cells(evaluation.scores)[1][:2], match_cells(evaluation.matches)[1][3]):
        assert cell in text


def test_histograms_of_nothing():
    assert len(histograms(run([None]).generated, None).axes) == 6


def test_histograms_are_fractions():
    evaluation = run(GENERATED, REFERENCE)
    axes = histograms(evaluation.generated, evaluation.reference).axes
    assert [label.get_text() for label in axes[0].get_legend().texts] == ["generated", "reference"]
    heights = [sum(bar.get_height() for bar in group) for group in axes[3].containers]
    assert heights == pytest.approx([1.0, 1.0])


def test_the_package_exports_what_it_lists():
    assert {name for name in crystals.__all__ if callable(getattr(crystals, name))} == set(
        crystals.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        crystals.absent  # noqa: B018


def test_importing_the_options_loads_no_library():
    code = "import sys, matkit.crystals.options; print({'pymatgen', 'torch'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
