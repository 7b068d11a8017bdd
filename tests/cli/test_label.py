"""``matkit label`` and the builders of structures."""

import json
import os

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from matkit.models import checkpoint
from matkit.models.shipped import DEFAULT_POTENTIAL
from tests.evaluate.labelled import network
from tests.train.labelled import TINY

EMT = "ase.calculators.emt:EMT"
FAILING = ["--calculator", "tests.label.calculators:Quadratic", "--calculator-options"]


@pytest.fixture
def metals(cli):
    frames = []
    for seed in range(5):
        atoms = bulk("Cu", cubic=True) if seed else Atoms("Au")
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    write("m.extxyz", frames)
    return cli


def test_journey_from_structures_to_a_data_set(metals):
    text = metals("label", "m.extxyz", "made", "--calculator", EMT, "--level", "EMT")
    assert "5 labelled, 0 rejected, 0 failed" in text.stdout
    folder = metals.folder / "made"
    files = {"labels.extxyz", "labels.jsonl", "labels.json"}
    assert {p.name for p in folder.iterdir()} == {*files, "labels-config.yaml"}
    assert "5 energy (REF_energy)" in metals("data", "inspect", "made/labels.extxyz").stdout
    metals("data", "convert", "made/labels.extxyz", "set")
    before = (folder / "labels.extxyz").read_bytes()
    metals("label", "-c", "made/labels-config.yaml")
    assert (folder / "labels.extxyz").read_bytes() == before
    assert yaml.safe_load((folder / "labels-config.yaml").read_text())["level"] == "EMT"


def test_shards_and_processes(metals):
    options = '{"trace": "trace"}'
    for number in (1, 2):
        words = ["--shard", f"{number}/2", "--workers", number]
        metals("label", "m.extxyz", "made", *FAILING, options, *words)
    parts = [read(f"made/labels-{number}-of-2.extxyz", ":") for number in (1, 2)]
    assert [len(part) for part in parts] == [3, 2]
    processes = [line.split()[1] for line in (metals.folder / "trace").read_text().splitlines()]
    assert len(processes) == 5
    assert set(processes[:3]) == {str(os.getpid())}
    assert str(os.getpid()) not in processes[3:]


def test_training_takes_the_labels(metals):
    for number in (1, 2):
        words = ["--calculator", EMT, "--shard", f"{number}/2"]
        metals("label", "m.extxyz", "made", *words)
    config = {"train_file": "made/labels-1-of-2.extxyz"}
    config |= {"valid_file": ["made/labels-2-of-2.extxyz"]}
    config |= {"model": TINY, "max_num_epochs": 1, "batch_size": 4, "report": False}
    (metals.folder / "train.yaml").write_text(yaml.safe_dump(config))
    assert "epoch 1/1" in metals("train", "-c", "train.yaml").output


def test_failures_give_exit_code_1_and_can_be_tried_again(metals):
    result = metals("label", "m.extxyz", "made", *FAILING, '{"fail": 1}', code=1)
    assert "failed: m.extxyz[0]: RuntimeError: did not converge" in result.stderr
    assert "4 labelled, 0 rejected, 1 failed" in result.stdout
    stderr = metals("label", "m.extxyz", "made", *FAILING, "{}", code=2).stderr
    assert "calculator_options = {'fail': 1} then, {} now" in stderr
    metals("label", "m.extxyz", "made", *FAILING, "{}", "--overwrite")


def test_many_failures_are_not_all_printed(metals):
    write("many.extxyz", [Atoms("H")] * 8)
    result = metals("label", "many.extxyz", "made", *FAILING, '{"fail": 1}', code=1)
    assert result.stderr.count("failed: ") == 5
    assert "... and 3 more; all are in labels.jsonl" in result.stderr


def test_json_is_the_whole_document(metals):
    words = ["--max-force", 1e-4, "--json"]
    document = json.loads(metals("label", "m.extxyz", "made", "--calculator", EMT, *words).stdout)
    assert document["counts"] == {"done": 1, "rejected": 4, "failed": 0}
    assert document["versions"]["ase"]
    assert document["out"] == "made/labels.extxyz"


def test_hessians_of_a_model_file(metals):
    checkpoint.save(network((29, 79)), metals.folder / "metal.safetensors", {})
    words = ["--calculator", "metal.safetensors", "--hessian", "autograd"]
    metals("label", "m.extxyz", "made", *words)
    size = (metals.folder / "made/labels.matrices").stat().st_size
    assert size == 4 * (4 * 12**2 + 3**2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected structures to label"),
        (["m.extxyz", "--shard", "3/2"], "Expected a shard such as"),
        (["m.extxyz", "--agree", "sevennet-0"], "agree needs max_difference"),
        (["absent.xyz", "--calculator", EMT], "there is no absent.xyz"),
        (["m.extxyz", "--hessian", "analytic"], "finite-difference"),
        (["m.extxyz", "--calculator", "sevenet-0"], "Did you mean 'sevennet-0'"),
    ],
)
def test_bad_input(metals, words, message):
    assert message in metals("label", *words, code=2).stderr


def test_the_template_is_accepted(metals):
    text = metals("template", "label").stdout
    values = yaml.safe_load(text)
    assert values["calculator"] == DEFAULT_POTENTIAL
    (metals.folder / "c.yaml").write_text(text.replace(DEFAULT_POTENTIAL, EMT))
    metals("label", "m.extxyz", "made", "-c", "c.yaml")


def test_perturbed_crystals_are_labelled(metals):
    write("cu.extxyz", bulk("Cu"))
    words = ["--rattle", 0.1, "--rattle", 0.2, "--dimers", "Au", "--surfaces", 0]
    result = metals("data", "perturb", "cu.extxyz", "crystals", *words)
    frames = read("crystals/perturbed.extxyz", ":")
    assert f"{len(frames)} structures; 0 failed" in result.stdout
    kinds = [atoms.info["config_type"] for atoms in frames]
    assert [kind for kind in kinds if "rattled" in kind] == ["rattled-0.1", "rattled-0.2"]
    metals("label", "crystals/perturbed.extxyz", "made", "--calculator", EMT)
    labelled = read("made/labels.extxyz", ":")
    assert [atoms.info["config_type"] for atoms in labelled] == kinds
    assert all(np.isfinite(atoms.info["REF_energy"]) for atoms in labelled)
    again = metals("data", "perturb", "-c", "crystals/perturbed-config.yaml", "--json")
    assert json.loads(again.stdout)["perturbed"]["frames"] == len(frames)


def test_molecules_are_labelled_with_hessians(metals):
    pytest.importorskip("rdkit")
    pytest.importorskip("tblite")
    (metals.folder / "s.smi").write_text("CO\nC1CC1\nO\n")
    words = ["--rattle", 0.1, "--temperatures", 300, "--held-out", 0]
    made = metals("data", "molecules", "s.smi", "molecules", *words)
    assert "molecules without a way to others: 1" in made.stdout
    words = ["--calculator", "gfn2", "--hessian", "finite-difference", "--max-asymmetry", 0.01]
    metals("label", "molecules/train.extxyz", "made", *words)
    labelled = read("made/labels.extxyz", ":")
    assert {atoms.info["parent"] for atoms in labelled} == {"CO", "C1CC1", "O"}
    ways = [atoms for atoms in labelled if atoms.info["config_type"] == "path"]
    assert {atoms.info["parent"] for atoms in ways} == {"CO", "C1CC1"}
    assert ("CO", "C=O.[H][H]") in {(a.info["parent"], a.info["product"]) for a in ways}
    assert all(atoms.info["hessian_asymmetry"] < 0.002 for atoms in labelled)


@pytest.mark.parametrize("command", ["perturb", "molecules"])
def test_builders_say_what_is_missing(cli, command):
    pytest.importorskip("rdkit")
    assert "Expected files of" in cli("data", command, code=2).stderr
