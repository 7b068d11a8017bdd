"""Wrong labels get the same verdict from every command that uses them, with the way out."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from matkit.data.dataset import read_dataset
from matkit.models import checkpoint
from tests.data.sets import labelled, save
from tests.evaluate.labelled import network


def copper(n=12):
    frames = []
    for i in range(n):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.set_cell(atoms.cell * (0.97 + 0.006 * i), scale_atoms=True)
        atoms.rattle(0.08, seed=i)
        frames.append(labelled(atoms, stress=None))
    return frames


def gradients():
    return [labelled(a, forces=-a.get_forces(), stress=None) for a in copper()]


def heads():
    frames = copper()
    for i, atoms in enumerate(frames):
        atoms.info["head"] = "pbe" if i % 2 else "r2scan"
    return frames


def declared():
    frames = copper()
    for atoms in frames:
        atoms.calc.results["energy"] /= 27.211386245988
        atoms.info |= {"energy-unit": "hartree", "forces-unit": "eV/A"}
    return frames


def single_precision():
    offset = np.float32(-720000)
    return [
        labelled(a, energy=float(np.float32(50 * a.get_potential_energy() + offset)), stress=None)
        for a in copper()
    ]


WRONG = {
    "gradients": (gradients, "gradients of the energy, not forces -> --forces-sign gradient"),
    "heads": (heads, "several levels of theory"),
    "single precision": (single_precision, "single precision"),
}


def commands(cli):
    """Every command that uses labels, without and with the way out."""
    checkpoint.save(network((29,)), cli.folder / "base.safetensors", {})
    small = ["--dry-run", "--split-by", "random", "--batch-size", "4"]
    tuned = ["--foundation-model", "base.safetensors", "--train-file", "cu.extxyz"]
    return {
        "train": ["train", "--train-file", "cu.extxyz", "--model", "facet-s", *small],
        "finetune": ["finetune", *tuned, *small],
        "evaluate": ["evaluate", "base.safetensors", "cu.extxyz", "--out", "evaluation"],
    }


@pytest.mark.parametrize("kind", WRONG)
def test_every_command_refuses_what_inspection_finds(cli, kind):
    make, message = WRONG[kind]
    save("cu.extxyz", make())
    assert message.split(" -> ")[0] in cli("data", "inspect", "cu.extxyz", code=1).stdout
    for words in commands(cli).values():
        text = cli(*words, code=2).stderr
        assert message in text
        assert "--allow-problems" in text


def test_problems_can_be_allowed_and_are_told(cli):
    save("cu.extxyz", gradients())
    for words in commands(cli).values():
        assert "gradients of the energy" in cli(*words, "--allow-problems").stderr


def test_what_inspection_recommends_mends_it(cli):
    save("cu.extxyz", gradients())
    cli("data", "inspect", "cu.extxyz", "--forces-sign", "gradient")
    cli(*commands(cli)["train"], "--forces-sign", "gradient")


def test_units_that_were_converted_are_said_by_training_too(cli):
    save("cu.extxyz", declared())
    assert "12 structures converted from hartree" in cli(*commands(cli)["train"]).stderr


def test_predictions_stand_beside_labels_in_the_same_unit(cli):
    save("cu.extxyz", declared())
    cli(*commands(cli)["evaluate"])
    written = read("evaluation/predictions.extxyz", ":")
    right = [atoms.get_potential_energy() for atoms in copper()]
    assert [atoms.info["REF_energy"] for atoms in written] == pytest.approx(right)
    assert not any("unit" in key for atoms in written for key in atoms.info)


def test_another_model_may_judge_too(cli):
    save("cu.extxyz", copper())
    commands(cli)
    text = cli("data", "inspect", "cu.extxyz", "--model", "base.safetensors").stdout
    assert "those of nequip-universal" in text
    assert "those of base.safetensors" in text


@pytest.mark.parametrize("words", [["split", "--by", "random"], ["convert"], ["fit-e0s"]])
def test_what_a_result_does_not_carry_on_is_said(cli, words):
    save("cu.extxyz", heads())
    out = ["new.extxyz"] if words == ["convert"] else []
    assert "several levels of theory" in cli("data", words[0], "cu.extxyz", *out, *words[1:]).stderr


def test_new_labels_do_not_inherit_what_was_said_of_old_ones(cli):
    frames = declared()[:2]
    for atoms in frames:
        atoms.info |= {"head": "pbe", "dft_energy": 1.0, "scf_converged": False, "name": "mine"}
    save("cu.extxyz", frames)
    cli("label", "cu.extxyz", "labels", "--calculator", "nequip-universal")
    for atoms in read("labels/labels.extxyz", ":"):
        assert not {"head", "dft_energy", "scf_converged", "energy-unit"} & atoms.info.keys()
        assert atoms.info["name"] == "mine"
    found = read_dataset("labels/labels.extxyz").label_report
    assert not [remark for remark in found.remarks if remark.severity == "problem"]


def test_the_report_has_what_structures_say(cli):
    save("cu.extxyz", heads())
    document = json.loads(cli("data", "inspect", "cu.extxyz", "--json", code=1).stdout)
    checks = {finding["check"] for finding in document["findings"]["train"]}
    assert {"levels of theory", "forces and model"} <= checks
