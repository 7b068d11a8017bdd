"""``matkit evaluate physics``."""

import json

import pytest
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from matkit.models import checkpoint
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
    words = ["salt.safetensors", "--quick", "--checks", "eos", "--checks", "diatomics"]
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
