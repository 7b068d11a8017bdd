import json
import re
from html import unescape
from importlib import import_module

import numpy as np
import pytest
import torch

from matkit.evaluate.comparison import evaluate
from matkit.evaluate.report import METRICS, REPORT, NamedSet, TrainingRecord, training_report
from matkit.report.figures import png
from matkit.report.tables import number
from matkit.runs.versions import versions
from tests.evaluate.labelled import dataset, frames, model

HISTORY = [
    {"epoch": e, "step": 9 * e, "train_loss": 2.0 / e, "valid_loss": 3.0 / e, "valid_forces_mae": 1}
    for e in (1, 2)
]
RECORD = TrainingRecord(
    title="Fine-tuning of <base>",
    settings={"lr": 0.001, "train_file": ["a.xyz", "b.xyz"], "seed": None, "E0s": {"H": -13.5}},
    facts={"new_elements": {"Na": "Li"}},
    history=HISTORY,
    ended="Finished after 2 epochs.",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short dynamics, and figures that are made but not drawn."""
    monkeypatch.setattr(import_module("matkit.evaluate.pages"), "png", lambda figure: b"figure")
    monkeypatch.setattr(import_module("matkit.evaluate.physics.dynamics"), "LENGTH", 100.0)
    monkeypatch.setattr(import_module("matkit.evaluate.report"), "SECONDS", 1000.0)


@pytest.fixture
def data(tmp_path):
    # Ordered, so that the structure of the spot checks is a crystal.
    atoms = frames()
    atoms[2].arrays["REF_forces"][:] = 0.001
    return dataset(tmp_path, atoms)


def words(page):
    return unescape(re.sub(r"<[^>]+>", " ", page))


def report(folder, data, **changes):
    models = {"before": model((1, 8, 11, 17)), "after": model((1, 8, 11, 17), 3)}
    sets = [NamedSet("test", data), NamedSet("validation", data.subset([0, 1, 2]))]
    given = {"record": RECORD, "sets": sets, "models": models, "checks": False, **changes}
    metrics = training_report(folder, **given)
    return metrics, (folder / REPORT).read_text(encoding="utf-8")


def test_the_page_holds_the_numbers_of_the_metrics(tmp_path, data):
    metrics, page = report(tmp_path, data, checks=True)
    assert metrics == json.loads((tmp_path / METRICS).read_text(encoding="utf-8"))
    text = words(page)
    shown = 0
    for models in metrics["errors"].values():
        for found in models.values():
            for group in found["groups"]:
                for key, errors in group["errors"].items():
                    kinds = ("mae",) if key == "force_vectors" else ("mae", "rmse")
                    for kind in kinds:
                        assert f" {number(1000 * errors[kind])} " in text
                        shown += 1
    assert shown > 50
    checks = metrics["spot_checks"]
    assert f"{checks['source']} (NaCl)" in text
    for name in ("before", "after"):
        run = checks["nve"][name]
        assert (run["reason"], run["steps"]) == ("done", 100)
        assert f" {number(run['drift'])} " in text
        assert len(checks["energy_volume"][name]["energy"]) == 13


def test_the_page_loads_nothing(tmp_path, data, monkeypatch):
    monkeypatch.setattr(import_module("matkit.evaluate.pages"), "png", png)
    _, page = report(tmp_path, data, checks=True)
    assert not re.search(
        r"https?:|//|@import|url\(|<script|<link", re.sub(r'base64,[^"]*', "", page)
    )
    sources = re.findall(r'src="([^"]{22})', page)
    # Learning curves, parity of two models on two sets, curve and dynamics.
    assert sources == ["data:image/png;base64,"] * 7
    assert page.count("<img") == 7


def test_everything_needed_to_understand_it_is_there(tmp_path, data):
    metrics, page = report(tmp_path, data)
    text = words(page)
    assert "Fine-tuning of <base>" in text
    for expected in ("Finished after 2 epochs.", "a.xyz, b.xyz", "H: -13.5", "not set", "Na: Li"):
        assert expected in text
    assert metrics["history"] == HISTORY
    assert metrics["settings"] == RECORD.settings
    assert metrics["versions"] == versions() | {"threads": str(torch.get_num_threads())}
    assert metrics["versions"]["torch"] in text
    assert metrics["sets"]["test"]["config_types"] == {"salt": 4, "water": 4}
    assert metrics["sets"]["validation"]["atoms"] == 8 + 3 + 2
    assert metrics["models"]["after"]["cutoff"] == 3.5
    assert "spot_checks" not in metrics


def test_before_and_after_are_those_of_the_models(tmp_path, data):
    metrics, page = report(tmp_path, data)
    for name, seed in (("before", 0), ("after", 3)):
        total = evaluate(model((1, 8, 11, 17), seed), data).total
        found = metrics["errors"]["test"][name]["groups"][0]["errors"]
        for key, errors in total.items():
            assert found[key]["rmse"] == pytest.approx(errors.rmse)
    assert "test (MAE): energy*" in words(page)


def test_a_model_that_does_not_know_an_element_is_left_out(tmp_path, data):
    models = {"before": model((1, 8)), "after": model((1, 8, 11, 17))}
    metrics, page = report(tmp_path, data, models=models, checks=True)
    skipped = {"skipped": "the model does not know Na, Cl"}
    assert metrics["errors"]["test"]["before"] == skipped
    assert metrics["spot_checks"]["nve"]["before"] == skipped
    assert "energy" in metrics["spot_checks"]["energy_volume"]["after"]
    assert "test, before: the model does not know Na, Cl." in words(page)


def test_energies_of_the_retained_set_are_moved_back_for_the_base(tmp_path, data):
    changes = {1: 5.0, 8: -40.0, 11: 3.0}
    structures = data.structures
    table = torch.zeros(18, dtype=torch.float64)
    table[list(changes)] = torch.tensor(list(changes.values()), dtype=torch.float64)
    moved = structures.system["energy"].index_add(0, structures.batch, table[structures.species])
    system = {**structures.system, "energy": moved}
    shifted = type(data)(
        structures.replace(system=system),
        data.config_types,
        data.groups,
        data.sources,
        data.label_report,
    )
    metrics, _ = report(tmp_path, data, sets=[NamedSet("retained", shifted, changes)])
    plain, _ = report(tmp_path, data, sets=[NamedSet("retained", data)])
    before, after = (m["errors"]["retained"] for m in (metrics, plain))
    for old, new in zip(before["before"]["groups"], after["before"]["groups"], strict=True):
        assert old["errors"].keys() == new["errors"].keys()
        for key in old["errors"]:
            assert old["errors"][key]["mae"] == pytest.approx(new["errors"][key]["mae"])
    # The result is compared with the labels as they are.
    first = before["after"]["groups"][0]["errors"]["energy"]["mae"]
    assert abs(first - after["after"]["groups"][0]["errors"]["energy"]["mae"]) > 1


def test_molecules_have_no_energy_volume_curve(tmp_path, data):
    water = data.subset([1, 5])
    metrics, page = report(tmp_path, data, sets=[NamedSet("test", water)], checks=True)
    checks = metrics["spot_checks"]
    assert "not periodic" in checks["energy_volume"]["after"]["skipped"]
    assert checks["nve"]["after"]["timestep"] == 0.5
    assert "Skipped for after: the structure is not periodic" in words(page)


def test_single_atoms_have_no_spot_checks(tmp_path, data):
    atom = frames()[0][:1]
    atom.info["REF_energy"] = 1.0
    sets = [NamedSet("test", dataset(tmp_path, [atom]))]
    metrics, page = report(tmp_path, data, sets=sets, checks=True)
    assert metrics["spot_checks"] == {"skipped": "every structure is a single atom"}
    assert "Skipped: every structure is a single atom." in words(page)


def test_isolated_atoms_are_not_compared(tmp_path, data):
    atom = frames()[1][:1]
    atom.info["config_type"] = "IsolatedAtom"
    sets = [NamedSet("retained", dataset(tmp_path, [*frames(), atom]))]
    metrics, _ = report(tmp_path, data, sets=sets)
    assert metrics["errors"]["retained"]["after"]["groups"][0]["structures"] == 8


def test_broken_predictions_are_told(tmp_path, data):
    broken = model((1, 8, 11, 17))
    for parameter in broken.parameters():
        torch.nn.init.constant_(parameter, np.nan)
    metrics, page = report(tmp_path, data, models={"result": broken}, checks=True)
    assert len(metrics["errors"]["test"]["result"]["not_finite"]) == len(data)
    checks = metrics["spot_checks"]
    assert checks["energy_volume"]["result"] == {"skipped": "an energy is not a number"}
    assert (
        "could not begin: energy or forces are not a number" in checks["nve"]["result"]["skipped"]
    )
    assert "the prediction is not a number for" in words(page)


def test_a_training_without_a_completed_epoch(tmp_path, data):
    record = TrainingRecord("t", {}, {}, [], "The allowed time was up after 0 epochs.")
    assert "No epoch was completed." in words(report(tmp_path, data, record=record)[1])


def test_many_groups_are_in_the_metrics_only(tmp_path, data, monkeypatch):
    monkeypatch.setattr(import_module("matkit.evaluate.pages"), "MOST_GROUPS", 2)
    _, page = report(tmp_path, data)
    assert "and 4 more in metrics.json" in words(page)
    assert "config_type water" in words(page)
    assert "element Cl" not in words(page)
