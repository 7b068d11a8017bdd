"""``matkit evaluate physics``."""

import json

import pytest
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from matkit.models import checkpoint
from matkit.models.sources import names_a_model
from tests.evaluate.labelled import network
from tests.report.sources import external_sources

OUT = "results/physics"


class Copper(EMT):
    """EMT, which tells its elements as models do."""

    species = (29,)


def any_model(*given, **options):
    return Copper()


@pytest.fixture
def files(cli, monkeypatch):
    """Copper and water, a small untrained model, and EMT in the place of any."""
    write("cu.xyz", bulk("Cu"))
    write("water.xyz", molecule("H2O"))
    checkpoint.save(network((11, 17)), cli.folder / "salt.safetensors", {})
    return cli


@pytest.fixture
def emt(files, monkeypatch):
    monkeypatch.setattr("matkit.cli.physics.load_calculator", any_model)
    return files


def metrics(folder, out=OUT):
    return json.loads((folder / out / "physics.json").read_text())


def test_journey(emt):
    result = emt(
        "evaluate",
        "physics",
        "emt",
        "cu.xyz",
        "--quick",
        "--checks",
        "eos",
        "--checks",
        "elastic",
        "--checks",
        "diatomics",
    )
    for text in ("equation of state", "pass", "bulk modulus", "Cu-Cu", "(≤ 10)"):
        assert text in result.stdout
    names = sorted(path.name for path in (emt.folder / OUT).iterdir())
    assert names == ["config.yaml", "physics.json", "report.html"]
    found = metrics(emt.folder)
    assert found["passes"] is True
    assert found["tally"] == {"pass": 3, "fail": 0, "skipped": 0}
    assert {check["verdict"] for check in found["checks"]} == {"pass"}
    page = (emt.folder / OUT / "report.html").read_text(encoding="utf-8")
    assert page.count("<canvas") == 1
    assert external_sources(page) == []
    assert "3 checks pass, 0 fail" in page
    config = yaml.safe_load((emt.folder / OUT / "config.yaml").read_text())
    assert config["checks"] == ["eos", "elastic", "diatomics"]


def test_a_failed_check_gives_exit_code_1(files):
    words = ["salt.safetensors", "--quick", "--checks", "eos,diatomics"]
    result = files("evaluate", "physics", *words, code=1)
    assert "fail" in result.stdout
    found = metrics(files.folder)
    assert found["passes"] is False
    assert found["model"]["model"]
    assert {check["subject"] for check in found["checks"]} == {"NaCl", "Na-Na"}


def test_json_is_the_whole_document(emt):
    result = emt("eval", "physics", "emt", "cu.xyz", "--checks", "eos", "--json")
    assert json.loads(result.stdout)["checks"] == metrics(emt.folder)["checks"]


def test_a_model_whose_crystals_are_not_known(emt, monkeypatch):
    monkeypatch.setattr(Copper, "species", (8,))
    result = emt("evaluate", "physics", "emt", "--checks", "eos")
    assert "No simple crystal" in result.stderr
    assert metrics(emt.folder)["checks"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected a model, got none"),
        (["absent"], "absent"),
        (["emt", "water.xyz"], "Expected crystals"),
        (["emt", "none.xyz"], "none.xyz"),
        (["emt", "--checks", "magnetism"], "magnetism"),
        (["emt", "--crystals", 0], "crystals"),
        (["emt", "--quantities", "volume"], "no effect on one model"),
        (["emt", "other", "--quantities", "volume,magnetism"], "unknown quantity 'magnetism'"),
        (["emt", "other", "--checks", "eos"], "no effect where models are compared"),
        (["emt", "other", "water.xyz"], "Expected crystals"),
        (["ase.calculators.emt:EMT", "ase.calculators.emt:EMT2", "cu.xyz"], "Cannot make a calc"),
        (["ase.calculators.emt:EMT", "ase.calculators.lj:LennardJones"], "no model says which"),
        (["emt", "ase.calculators.emt:EMT", "--dispersion", "d3"], "Leave these options out"),
    ],
)
def test_what_cannot_be_done(files, monkeypatch, words, message):
    if words[:1] == ["emt"]:
        monkeypatch.setattr("matkit.cli.physics.load_calculator", any_model)
    assert message in files("evaluate", "physics", *words, code=2).output
    assert not (files.folder / OUT / "physics.json").exists()


def test_bad_structures_are_refused(emt):
    (emt.folder / "bad.xyz").write_text('1\nLattice="3 0 0 0 3 0 0 0 3"\nCu nan 0 0\n')
    (emt.folder / "both.xyz").write_text(
        (emt.folder / "cu.xyz").read_text() + (emt.folder / "bad.xyz").read_text()
    )
    assert "cannot be used" in emt("evaluate", "physics", "emt", "both.xyz", code=2).output


def test_results_are_not_overwritten_unasked(emt):
    words = ("evaluate", "physics", "emt", "cu.xyz", "--checks", "eos")
    emt(*words)
    assert "overwrite" in emt(*words, code=2).output
    emt(*words, "--overwrite")


def test_several_models_are_placed_side_by_side(emt):
    words = ["evaluate", "physics", "emt", "second", "cu.xyz", "--reference", "third"]
    words += ["--quantities", "volume", "--quantities", "surface"]
    text = emt(*words).stdout
    for part in ("from third", "emt", "second", "volume (Å³/atom)", "0 (1)", "from PBE, WIEN2k"):
        assert part in text
    names = sorted(path.name for path in (emt.folder / OUT).iterdir())
    comparison = [f"comparison.{ending}" for ending in ("csv", "html", "json", "yaml")]
    assert names == [*comparison, *(f"numbers.{e}" for e in ("extxyz", "json", "jsonl"))]
    found = json.loads((emt.folder / OUT / "comparison.json").read_text())
    assert list(found["models"]) == ["third", "emt", "second"]
    assert found["reference"] == "third"
    page = (emt.folder / OUT / "comparison.html").read_text(encoding="utf-8")
    assert "Differences from third" in page
    assert external_sources(page) == []
    config = yaml.safe_load((emt.folder / OUT / "comparison.yaml").read_text())
    assert (config["model"], config["compare"], config["struct"]) == ("emt", ["second"], ["cu.xyz"])
    # The same command goes on, here with nothing left to do.
    again = emt(*words, "--json")
    assert json.loads(again.stdout)["numbers"] == found["numbers"]
    assert "to compute" not in again.stderr


def test_other_calculators_are_named_by_what_makes_them(emt):
    words = ["emt", "ase.calculators.emt:EMT", "cu.xyz", "--quantities", "volume"]
    emt("evaluate", "physics", *words)
    found = json.loads((emt.folder / OUT / "comparison.json").read_text())
    assert list(found["models"]) == ["emt", "ase.calculators.emt:EMT"]
    values = [row["numbers"]["volume"][""] for row in found["numbers"]]
    assert len(values) == 2
    assert values[0] == pytest.approx(values[1])


def test_a_model_beside_itself_is_placed_beside_published_numbers(emt):
    words = ["emt", "--reference", "emt", "--quantities", "volume", "--crystals", 1]
    text = emt("evaluate", "physics", *words).stdout
    assert "from PBE, WIEN2k" in text
    assert "from emt" not in text


def test_words_are_models_or_crystals(files):
    (files.folder / "POSCAR").write_text("")
    words = ["nequip-universal", "mine.safetensors", "a.model", "sevennet-0", "unknown"]
    assert all(names_a_model(word) for word in words)
    assert not any(names_a_model(word) for word in ["cu.xyz", "POSCAR", "absent.cif"])


def test_a_second_model_that_is_not_known_is_said(files):
    words = ["salt.safetensors", "nequip-univ"]
    text = files("evaluate", "physics", *words, code=2).output
    assert "Unknown model 'nequip-univ'" in text
    assert "nequip-universal" in text
