"""``matkit evaluate`` on a tiny model and a tiny file."""

import csv
import json
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from ase.io import read, write

from matkit.data.dataset import read_dataset
from matkit.evaluate.comparison import evaluate
from matkit.models import checkpoint
from tests.evaluate.labelled import frames, model, network

RESULTS = ["config.yaml", "errors.csv", "metrics.json", "parity.png", "predictions.extxyz"]


@pytest.fixture
def files(cli):
    """A model that knows all elements, one that knows two, and a labelled file."""
    checkpoint.save(network((1, 8, 11, 17)), cli.folder / "all.safetensors", {"licence": "mine"})
    checkpoint.save(network((1, 8)), cli.folder / "water.safetensors", {})
    write("data.extxyz", frames())
    return cli


def metrics(folder="results/evaluation"):
    with open(f"{folder}/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def test_journey(files):
    result = files("evaluate", "all.safetensors", "data.extxyz")
    folder = files.folder / "results" / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == RESULTS
    data = read_dataset("data.extxyz")
    total = evaluate(model((1, 8, 11, 17)), data).total
    found = metrics()["groups"][0]["errors"]
    assert found.keys() == total.keys()
    for key, errors in total.items():
        assert found[key]["count"] == errors.count
        assert found[key]["mae"] == pytest.approx(errors.mae, rel=1e-5)
    assert f"{1000 * found['forces']['mae']:.4g}" in result.stdout
    for text in ("config_type salt", "element O", "meV/atom", "meV/Å³", "* after"):
        assert text in result.stdout
    assert "6 energy" in result.stderr
    with open(folder / "errors.csv", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["quantity"] == "forces")
    assert float(row["mae"]) == pytest.approx(1000 * found["forces"]["mae"])
    assert metrics()["model"]["licence"] == "mine"
    assert metrics()["versions"]["torch"] == torch.__version__
    assert (folder / "parity.png").read_bytes().startswith(b"\x89PNG")
    first = read(folder / "predictions.extxyz", 0)
    assert first.info["REF_energy"] == read("data.extxyz", 0).info["REF_energy"]
    assert first.arrays["matkit_forces"].shape == (8, 3)


def test_one_document(files):
    document = json.loads(files("eval", "all.safetensors", "data.extxyz", "--json").stdout)
    assert document.pop("outputs")[0].endswith("predictions.extxyz")
    assert document == metrics()
    assert document["options"]["struct"] == ["data.extxyz"]


def test_the_written_configuration_does_the_same_again(files):
    files("evaluate", "-m", "all.safetensors", "data.extxyz", "--prefix", "a_", "-o", "one")
    first = metrics("one")
    config = yaml.safe_load((files.folder / "one" / "config.yaml").read_text())
    assert config["prefix"] == "a_"
    files("evaluate", "-c", "one/config.yaml", "-o", "two")
    assert metrics("two")["groups"] == first["groups"]
    assert "a_energy" in read("two/predictions.extxyz").info


def test_several_files_are_told_apart(files):
    write("more.xyz", frames(4, seed=5), format="extxyz")
    files("evaluate", "all.safetensors", "data.extxyz", "more.xyz")
    by_file = [group for group in metrics()["groups"] if group["kind"] == "file"]
    counts = [(group["name"], group["structures"]) for group in by_file]
    assert counts == [("data.extxyz", 8), ("more.xyz", 4)]


def test_keys_and_sign_are_those_of_training(files):
    atoms = frames()
    for one in atoms:
        for key in ("energy", "stress"):
            if f"REF_{key}" in one.info:
                one.info[f"dft_{key}"] = 2 * one.info[f"REF_{key}"]
    write("two.xyz", atoms, format="extxyz")
    words = ("--energy-key", "dft_energy", "--stress_key", "dft_stress", "--stress-sign", "vasp")
    files("evaluate", "all.safetensors", "two.xyz", *words)
    labels = metrics()["labels"]
    assert "dft_energy" in labels
    assert metrics()["options"]["stress_sign"] == "vasp"
    salt = [new for new in read("results/evaluation/predictions.extxyz", ":") if all(new.pbc)]
    differences = [new.info["matkit_stress"] + new.info["dft_stress"] for new in salt]
    found = metrics()["groups"][0]["errors"]["stress"]
    assert found["count"] == 4 * 6
    assert found["mae"] == pytest.approx(np.abs(differences).mean(), rel=1e-6)


def test_arithmetic_can_be_chosen(files):
    files("evaluate", "all.safetensors", "data.extxyz", "--dtype", "float64")
    assert metrics()["model"]["dtype"] == "float64"
    files("evaluate", "all.safetensors", "data.extxyz", "-o", "single")
    assert metrics("single")["model"]["dtype"] == "float32"


def test_results_are_not_replaced_unasked(files):
    files("evaluate", "all.safetensors", "data.extxyz")
    message = files("evaluate", "all.safetensors", "data.extxyz", code=2).stderr
    assert "metrics.json" in message
    files("evaluate", "all.safetensors", "data.extxyz", "--overwrite")


def test_unknown_elements(files):
    message = files("evaluate", "water.safetensors", "data.extxyz", code=2).stderr
    assert "does not know Na, Cl, in data.extxyz[0], data.extxyz[2]" in message
    result = files("evaluate", "water.safetensors", "data.extxyz", "--skip-unknown")
    assert "Left out: 4 structures (unknown elements)" in result.stderr
    assert metrics()["left_out"] == {"unknown elements": 4}
    assert metrics()["groups"][0]["structures"] == 4
    assert len(read("results/evaluation/predictions.extxyz", ":")) == 4


def test_isolated_atoms_are_left_out(files):
    write("with-atom.xyz", [*frames(), frames()[1][:1]], format="extxyz")
    files("evaluate", "all.safetensors", "with-atom.xyz")
    assert metrics()["left_out"] == {"isolated atoms": 1}
    assert len(read("results/evaluation/predictions.extxyz", ":")) == 8


def test_a_converted_folder(files):
    from matkit.data.cached import convert
    from matkit.data.dataset import located_atoms
    from matkit.data.labels import LabelKeys

    convert(located_atoms(["data.extxyz"]), "folder", LabelKeys())
    files("evaluate", "all.safetensors", "folder")
    files("evaluate", "all.safetensors", "data.extxyz", "-o", "file")
    assert metrics()["groups"] == metrics("file")["groups"]
    assert "REF_energy" in read("results/evaluation/predictions.extxyz", 0).info


def test_nothing_to_compare(files):
    write("bare.xyz", molecule("H2O"), format="extxyz")
    message = files("evaluate", "all.safetensors", "bare.xyz", code=2).stderr
    assert "nothing to compare with" in message
    assert "energy_key" in message


def test_predictions_never_replace_labels(files):
    message = files("evaluate", "all.safetensors", "data.extxyz", "--prefix", "REF_", code=2).stderr
    assert "would replace REF_energy" in message
    assert not (files.folder / "results").exists()


def test_broken_predictions_end_with_an_error(files):
    broken = network((1, 8, 11, 17))
    for parameter in broken.parameters():
        torch.nn.init.constant_(parameter, 1e30)
    checkpoint.save(broken, files.folder / "broken.safetensors", {})
    result = files("evaluate", "broken.safetensors", "data.extxyz", code=1)
    assert "not a number for data.extxyz[0], data.extxyz[1]" in result.stderr
    assert len(metrics()["not_finite"]) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected a model, got none"),
        (["all.safetensors"], "Expected files with labelled structures"),
        (["all.safetensors", "missing.xyz"], "no file missing.xyz"),
        (["nonsense", "data.extxyz"], "Unknown model 'nonsense'"),
    ],
)
def test_mistakes_are_explained(files, words, message):
    assert message in files("evaluate", *words, code=2).stderr


def test_progress_in_lines(files, monkeypatch):
    monkeypatch.setattr("matkit.cli.progress.INTERVAL", 0.0)
    monkeypatch.setattr(import_module("matkit.evaluator"), "BATCH_ATOMS", 8)
    stderr = files("evaluate", "all.safetensors", "data.extxyz").stderr
    assert "structures: 1 of 8" in stderr
    assert "structures: 8 of 8, 0 s left" in stderr


def test_progress_on_a_terminal(files, monkeypatch):
    monkeypatch.setattr("matkit.cli.display.Display.interactive", True)
    assert "config_type salt" in files("evaluate", "all.safetensors", "data.extxyz").stdout


def test_template(cli):
    options = yaml.safe_load(cli("template", "evaluate").stdout)
    assert options["prefix"] == "matkit_"


def test_a_committee_gets_a_calibration(files):
    for seed in range(2):
        checkpoint.save(network((1, 8, 11, 17), seed), files.folder / f"seed-{seed}.safetensors")
    result = files("evaluate", "seed-0.safetensors,seed-1.safetensors", "data.extxyz")
    assert "miscalibration" in result.stdout
    found = metrics()["calibration"]["forces"]
    assert 0 <= found["miscalibration"] <= 0.5
    folder = files.folder / "results" / "evaluation"
    with open(folder / "calibration.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "forces"]
    assert sum(int(row["values"]) for row in rows) == found["count"]
    assert (folder / "calibration.png").read_bytes().startswith(b"\x89PNG")
    first = read(folder / "predictions.extxyz", 0)
    assert first.arrays["matkit_forces_std"].shape == (8, 3)
    assert first.info["matkit_energy_std"] > 0
    assert len(first.info["matkit_stress_std"]) == 6
    files("evaluate", "seed-0.safetensors", "data.extxyz", "--overwrite")
    assert sorted(path.name for path in folder.iterdir()) == RESULTS


def test_a_committee_compares_the_elements_that_all_members_know(files):
    words = ("evaluate", "all.safetensors,water.safetensors", "data.extxyz")
    assert "Na" in files(*words, code=2).stderr
    files(*words, "--skip-unknown")
    assert metrics()["left_out"] == {"unknown elements": 4}


def test_dispersion_is_compared(files):
    pytest.importorskip("dftd3", reason='needs pip install "matkit[dispersion]"')
    energies = []
    for out, words in (("plain", ()), ("d3", ("--dispersion", "d3"))):
        files("evaluate", "all.safetensors", "data.extxyz", "--out", out, *words)
        energies.append(read(f"{out}/predictions.extxyz", 0).info["matkit_energy"])
    assert energies[1] < energies[0] - 0.1
