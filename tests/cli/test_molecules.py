"""``matkit evaluate molecules``."""

import csv
import json

import pytest
import yaml
from ase.build import molecule
from ase.io import write

from tests.molecules.files import sdf_file
from tests.report.sources import external_sources

OUT = "results/molecules"
RESULTS = ["config.yaml", "metrics.json", "report.html", "structures.csv"]


@pytest.fixture
def files(cli, monkeypatch):
    """Four molecules, one of them broken, true ones, and a list of SMILES."""
    write("made.xyz", [molecule(name) for name in ("CH4", "CH3OH", "CH4", "CH3")])
    sdf_file(cli.folder / "true.sdf", "CH4", "C2H6", "CH3OH", "H2O")
    (cli.folder / "known.smi").write_text("CO\n")
    monkeypatch.setattr("matkit.molecules.pages.png", lambda figure: b"")  # it takes a second
    return cli


def metrics(out=OUT):
    with open(f"{out}/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def scores(out=OUT):
    return {score["name"]: score["value"] for score in metrics(out)["scores"]}


def rows(out=OUT):
    with open(f"{out}/structures.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_journey(files):
    words = ["made.xyz", "--reference", "true.sdf", "--known", "known.smi"]
    result = files("evaluate", "molecules", *words)
    assert sorted(path.name for path in (files.folder / OUT).iterdir()) == RESULTS
    assert scores()["perceived"] == 0.75
    assert scores()["unique"] == 0.5
    assert scores()["novel"] == 0.25
    assert "Wasserstein" in result.stdout
    assert [row["smiles"] for row in rows()] == ["C", "CO", "C", ""]
    assert "no bonds fit" in rows()[3]["reason"]
    assert metrics()["counts"]["reference_judged"] == 4
    assert "rdkit" in metrics()["versions"]
    page = (files.folder / OUT / "report.html").read_text()
    assert "data:image/svg+xml" in page
    assert 'class="viewer' in page
    assert not external_sources(page)


def test_a_folder_that_was_generated_is_taken_as_drawn(files):
    from tests.molecules.files import tiny_generator

    model = tiny_generator(files.folder)
    out = ["--num-samples", 2, "--steps", 2]
    files("generate", "molecule", "drawn", "--model", model, *out)
    files("evaluate", "molecules", "drawn")
    assert metrics()["counts"]["with_bonds"] == 2
    assert "generated.extxyz" in rows()[0]["source"]
    (files.folder / "drawn/relaxed.extxyz").write_text("")
    message = files("evaluate", "molecules", "drawn", "--overwrite", code=2).output
    assert "holds its structures as generated and relaxed" in message


def test_its_configuration_runs_again(files):
    files("evaluate", "molecules", "made.xyz", "--seed", 3)
    config = yaml.safe_load((files.folder / OUT / "config.yaml").read_text())
    assert config["seed"] == 3
    files("evaluate", "molecules", "-c", f"{OUT}/config.yaml", "--out", "again")
    assert metrics("again")["scores"] == metrics()["scores"]


def test_what_was_asked_for_is_in_the_table(files):
    pytest.importorskip("tblite")
    files("evaluate", "molecules", "made.xyz", "--relax", "gfn2", "--posebusters", "mol_fast")
    first, *_, last = rows()
    assert first["posebusters"] == first["bonds_kept"] == "True"
    assert float(first["strain"]) < 1
    assert last["posebusters"] == "False"
    names = {path.name for path in (files.folder / OUT).iterdir()}
    assert {"relaxed.extxyz", "relaxed.jsonl", "posebusters.jsonl"} <= names
    assert "posebusters.extxyz" not in names


def test_json_is_the_whole_document(files):
    result = files("eval", "molecules", "made.xyz", "--json")
    assert json.loads(result.stdout)["scores"] == metrics()["scores"]


def test_nothing_readable_gives_exit_code_1(files):
    (files.folder / "torn.sdf").write_text("rubbish\n")
    files("evaluate", "molecules", "torn.sdf", code=1)
    assert scores()["perceived"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected files of generated molecules"),
        (["absent.xyz"], "no file"),
        (["known.smi"], "Expected molecules with coordinates, got a SMILES"),
        (["made.xyz", "--reference", "known.smi"], "Expected molecules with coordinates"),
        (["made.xyz", "--fcd"], "give reference"),
        (["made.xyz", "--posebusters", "dock"], "posebusters"),
        (["made.xyz", "--relax", "nonsense"], "Unknown model"),
        (["made.xyz", "--refrence", "x"], "No such option"),
    ],
)
def test_what_cannot_be_done(files, words, message):
    result = files("evaluate", "molecules", *words, code=2)
    assert message in result.output
    assert not (files.folder / OUT / "metrics.json").exists()


def test_results_are_not_overwritten_unasked(files):
    files("evaluate", "molecules", "made.xyz")
    assert "overwrite" in files("evaluate", "molecules", "made.xyz", code=2).output
    files("evaluate", "molecules", "made.xyz", "--overwrite")
