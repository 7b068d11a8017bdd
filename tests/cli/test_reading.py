"""What the commands make of files with broken, odd and partly occupied structures."""

import json
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import write

from matkit.data.dataset import read_dataset
from tests.data.sets import rattled_copper, save

FRAMES, BROKEN = 12, (3, 6, 7)
COMMANDS = {
    "singlepoint": (["singlepoint", "a.extxyz", "--out", "out"], 1),
    "label": (["label", "a.extxyz", "out", "--calculator", "facet-universal"], 1),
    "evaluate": (["evaluate", "facet-universal", "a.extxyz", "--out", "out"], 1),
    "evaluate crystals": (["evaluate", "crystals", "a.extxyz", "--out", "out"], 0),
    "data inspect": (["data", "inspect", "a.extxyz"], 1),
    "data convert": (["data", "convert", "a.extxyz", "out"], 1),
    "data convert xyz": (["data", "convert", "a.extxyz", "out.extxyz"], 1),
    "data split": (["data", "split", "a.extxyz", "--by", "random", "--out", "out"], 1),
    "data fit-e0s": (["data", "fit-e0s", "a.extxyz"], 1),
}


@pytest.fixture
def broken(cli):
    """Frames of which some have lost the line with their number of atoms."""
    path = Path(save("a.extxyz", rattled_copper(FRAMES)))
    lines = path.read_text().splitlines(keepends=True)
    size = len(lines) // FRAMES
    for i in BROKEN:
        lines[i * size] = "\n"
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_broken_frames_are_counted_and_no_good_one_is_lost(cli, broken, name):
    words, code = COMMANDS[name]
    result = cli(*words, "--json", code=code)
    document = json.loads(result.stdout)
    text = json.dumps(document) + result.stderr
    assert "expected a number of atoms" in text
    good = {
        "singlepoint": lambda: sum(row["converged"] for row in document["structures"]),
        "label": lambda: document["counts"]["done"],
        "evaluate": lambda: len(read_dataset("out/predictions.extxyz")),
        "evaluate crystals": lambda: document["counts"]["generated"]["loaded"],
        "data inspect": lambda: document["labels"]["train"]["energy"]["count"],
        "data convert": lambda: document["structures"],
        "data convert xyz": lambda: document["structures"],
        "data split": lambda: sum(row["structures"] for row in document.values()),
        "data fit-e0s": lambda: FRAMES - len(BROKEN),
    }
    assert good[name]() == FRAMES - len(BROKEN)


def test_nothing_usable_to_convert_says_why(cli, broken):
    result = cli("data", "convert", f"{broken}@3", "out", code=2)
    assert "expected a number of atoms" in result.stderr


def test_a_part_of_a_file_and_a_format(cli):
    save("a.extxyz", rattled_copper(4))
    document = json.loads(cli("singlepoint", "a.extxyz@1:3", "--json").stdout)
    assert [row["index"] for row in document["structures"]] == [1, 2]
    write("b.dat", bulk("Cu"), format="vasp")
    cli("singlepoint", "b.dat", "--format", "vasp")
    result = cli("singlepoint", "b.dat", "--format", "vesp", "--out", "other", code=2)
    assert "Did you mean 'vasp'?" in result.stderr
    assert "Unknown format" in cli("data", "inspect", "a.extxyz", "--format", "x", code=2).stderr
    cli("evaluate", "facet-universal", "b.dat", "--format", "nothing", code=2)
    cli("evaluate", "crystals", "b.dat", "--format", "nothing", code=2)
    cli("label", "b.dat", "--calculator", "facet-universal", "--format", "nothing", code=2)
    cli("train", "--train-file", "b.dat", "--format", "nothing", code=2)


def test_deuterium_is_said_and_vibrates_as_deuterium(cli):
    write("h2o.xyz", molecule("H2O"), plain=True)
    heavy = (cli.folder / "h2o.xyz").read_text().replace("H ", "D ")
    (cli.folder / "d2o.xyz").write_text(heavy)
    method = ("--method", "finite-difference")
    result = cli("vibrations", "d2o.xyz", *method, "--json")
    assert "d2o.xyz[0]: 2 H of 2.014 u" in result.stderr
    light = json.loads(cli("vibrations", "h2o.xyz", *method, "--json").stdout)
    heavy = json.loads(result.stdout)
    highest = [max(d["structures"][0]["frequencies"]) for d in (light, heavy)]
    assert highest[0] / highest[1] == pytest.approx(1.37, abs=0.04)


def test_a_folder_and_a_partly_occupied_crystal_are_refused(cli):
    (cli.folder / "made").mkdir()
    assert "is a folder" in cli("singlepoint", "made", code=2).stderr
    text = (
        "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        "Cu 0 0 0 0.6\n"
    )
    (cli.folder / "a.cif").write_text(text)
    for words in (["singlepoint", "a.cif"], ["data", "inspect", "a.cif"]):
        assert "partial occupancies" in cli(*words, code=2).stderr
