"""``matkit evaluate crystals``."""

import csv
import json

import pytest
import yaml
from ase.io import write
from pymatgen.io.ase import AseAtomsAdaptor

from matkit.models import checkpoint
from tests.crystals import samples
from tests.evaluate.labelled import network

OUT = "results/crystals"
RESULTS = ["config.yaml", "metrics.json", "report.html", "structures.csv"]


@pytest.fixture
def files(cli):
    """A folder with two good CIF files and a damaged one, and a reference."""
    made = cli.folder / "made"
    made.mkdir()
    (made / "1.cif").write_text(samples.disguised(samples.salt()).to(fmt="cif"))
    (made / "2.cif").write_text(samples.perovskite().to(fmt="cif"))
    (made / "3.cif").write_text("data_nothing\n")
    reference = [samples.salt(), samples.wurtzite(), samples.perovskite()]
    write("reference.extxyz", [AseAtomsAdaptor.get_atoms(s, msonable=False) for s in reference])
    return cli


def metrics(out=OUT):
    with open(f"{out}/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def scores(out=OUT):
    return {score["name"]: score["value"] for score in metrics(out)["scores"]}


def test_journey(files):
    result = files(
        "evaluate", "crystals", "made", "--reference", "reference.extxyz", "--samples", 1
    )
    assert sorted(path.name for path in (files.folder / OUT).iterdir()) == RESULTS
    assert "generated: 3 entries, 2 loaded, 1 not" in result.stderr
    assert "3.cif" in result.stderr
    assert scores()["validity"] == pytest.approx(2 / 3)
    assert scores()["novelty"] == 0
    for text in ("structural validity", "stol 0.5, ltol 0.3, angle 10", "SMACT", "match rate"):
        assert text in result.stdout
    counts = metrics()["counts"]["generated"]
    assert (counts["entries"], counts["loaded"], counts["failed"]) == (3, 2, 1)
    rates = [row["rate"] for row in metrics()["matches"] if row["gate"] == "off"]
    assert rates == pytest.approx([1 / 3, 1 / 3])
    with open(files.folder / OUT / "structures.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["space_group_0.1"] for row in rows] == ["225", "221", ""]
    assert rows[2]["reason"]
    assert "spglib" in metrics()["versions"]


def test_its_configuration_runs_again(files):
    files("evaluate", "crystals", "made", "--seed", 3)
    config = yaml.safe_load((files.folder / OUT / "config.yaml").read_text())
    assert config["seed"] == 3
    files("evaluate", "crystals", "-c", f"{OUT}/config.yaml", "--out", "again")
    assert metrics("again")["scores"] == metrics()["scores"]


def test_a_potential_and_a_hull(files):
    checkpoint.save(network((11, 17)), files.folder / "salt.safetensors", {})
    (files.folder / "hull.csv").write_text("formula,energy_per_atom\nNa,900\nCl,900\n")
    words = ["--model", "salt.safetensors", "--hull", "hull.csv", "--stable", 0.2]
    files("evaluate", "crystals", "made", "--reference", "reference.extxyz", *words)
    assert scores()["stable@0.2"] == pytest.approx(1 / 3)
    assert metrics()["model"]["model"]
    # The reference holds it.
    assert scores()["S.U.N. (stable@0.2)"] == 0
    assert scores()["W energy"] == pytest.approx(0, abs=1e-5)


def test_json_is_the_whole_document(files):
    result = files("eval", "crystals", "made", "--json")
    assert json.loads(result.stdout)["scores"] == metrics()["scores"]


def test_nothing_usable_gives_exit_code_1(files):
    files("evaluate", "crystals", "made/3.cif", code=1)
    assert scores()["validity"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected a folder"),
        (["absent"], "found no absent"),
        (["made", "--samples", 1], "give reference"),
        (["made", "--hull", "hull.csv"], "give its model"),
        (["made", "--refrence", "x"], "No such option"),
        (["made", "--reference", "reference.extxyz", "--samples", 2], "Expected 2 crystals"),
        (["made", "--coverage", "qm9", "--reference", "reference.extxyz"], "coverage"),
    ],
)
def test_what_cannot_be_done(files, words, message):
    result = files("evaluate", "crystals", *words, code=2)
    assert message in result.output
    assert not (files.folder / OUT).exists()


def test_crystals_before_and_after_relaxation_are_judged_apart(files):
    for name in ("generated-1-of-2.extxyz", "generated-2-of-2.extxyz", "relaxed.extxyz"):
        (files.folder / "made" / name).write_text((files.folder / "reference.extxyz").read_text())
    message = files("evaluate", "crystals", "made", code=2).output
    assert "made/generated-1-of-2.extxyz made/generated-2-of-2.extxyz, or made/relaxed" in message
    files("evaluate", "crystals", "made/relaxed.extxyz")


def test_results_are_not_overwritten_unasked(files):
    files("evaluate", "crystals", "made")
    assert "overwrite" in files("evaluate", "crystals", "made", code=2).output
    files("evaluate", "crystals", "made", "--overwrite")


def test_help_names_both_words(cli):
    assert "evaluate crystals" in cli("--help").output
    assert "evaluate crystals" in cli("evaluate", "crystals", "--help").output
    assert "MODEL" in cli("evaluate", "--help").output
