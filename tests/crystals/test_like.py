"""Crystals of the compositions of given structures, and how they are found among them."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from matkit.cli.display import Display
from matkit.cli.generate import run_generate
from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.generation.requests import requests
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.reading import attempt_of, read_crystals
from matkit.errors import ConfigError, DataError
from matkit.generate.run import draw
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build

SMALL = {"width": 16, "layers": 2, "harmonics": 4, "time_channels": 8, "miller": 2}
SALT = bulk("NaCl", "rocksalt", a=5.64)
OXIDE = Atoms("Na4O2", positions=[[i, 0, 0] for i in range(6)], cell=[9, 3, 3], pbc=True)
IRON = bulk("Fe")


def saved(path, seed=0, **changes):
    torch.manual_seed(seed)
    kwargs = {"species": [8, 11, 17, 26], "max_atoms": 6, **SMALL, **changes}
    return str(checkpoint.save(checkpoint.build("crystalflow", kwargs, Generator), path))


@pytest.fixture
def folder(tmp_path):
    """Where the model and three structures lie, the largest of them first."""
    saved(tmp_path / "model.safetensors")
    write(tmp_path / "test.extxyz", [OXIDE, IRON, SALT])
    return tmp_path


def options(folder, **changes):
    values = {
        "model": str(folder / "model.safetensors"),
        "like": str(folder / "test.extxyz"),
        "num_samples": 2,
        "steps": 2,
        "out": str(folder / "out"),
    }
    return build(CrystalOptions, values | changes)


def generate(folder, **changes):
    chosen = options(folder, **changes)
    generator, _ = checkpoint.load(chosen.model, Generator)
    return list(draw(generator, chosen, lambda stage: nullcontext()).generated)


def test_every_structure_is_attempted_as_often_as_asked(folder):
    made = generate(folder)
    formulas = [atoms.get_chemical_formula("metal") for atoms in made]
    assert formulas == ["Na4O2", "Na4O2", "Fe", "Fe", "NaCl", "NaCl"]
    assert [attempt_of(atoms) for atoms in made] == [(i, j) for i in range(3) for j in range(2)]
    assert not np.allclose(made[0].positions, made[1].positions, atol=1e-3)


def test_the_first_attempt_is_the_same_however_many_follow(folder):
    many, one = generate(folder), generate(folder, num_samples=1, out=str(folder / "one"))
    for first, alone in zip(many[::2], one, strict=True):
        assert first.info["seed"] == alone.info["seed"]
        assert np.allclose(first.positions, alone.positions, atol=1e-4)
    other = generate(folder, num_samples=1, seed=1, out=str(folder / "other"))
    assert not {atoms.info["seed"] for atoms in other} & {atoms.info["seed"] for atoms in many}


def test_the_smallest_are_made_together_and_first(folder):
    generator, _ = checkpoint.load(folder / "model.safetensors", Generator)
    items = requests(options(folder), generator)
    assert [item.content[1] for item in items] == [1, 1, 2, 2, 6, 6]
    assert sorted(item.index for item in items) == list(range(6))


def test_an_interrupted_run_goes_on(folder):
    wanted = generate(folder, batch_size=1)
    ledger = folder / "out" / "generated.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:3]))
    assert generate(folder, batch_size=1) == wanted


def test_a_run_does_not_go_on_with_other_weights(folder):
    generate(folder)
    saved(folder / "model.safetensors", seed=1)
    with pytest.raises(ConfigError, match="weights"):
        generate(folder)


def test_what_cannot_be_made_is_told_and_left_out(folder):
    write(folder / "test.extxyz", [SALT, bulk("Au"), OXIDE.repeat((2, 1, 1)), IRON])
    assert run_generate(options(folder), "crystal", Display(quiet=True)) == 0
    made = read(folder / "out" / "generated.extxyz", ":")
    assert [attempt_of(atoms)[0] for atoms in made] == [0, 0, 3, 3]
    counts = json.loads((folder / "out" / "metrics.json").read_text())["counts"]
    assert (counts["asked"], counts["generated"], counts["impossible"]) == (8, 4, 4)
    table = (folder / "out" / "structures.csv").read_text()
    assert "Au" in table
    assert "up to 6 atoms" in table


def test_nothing_that_can_be_made_is_an_error(folder):
    write(folder / "test.extxyz", [bulk("Au"), bulk("Cu")])
    with pytest.raises(ConfigError, match=r"none of the 2 compositions.*Au"):
        generate(folder)
    with pytest.raises(DataError, match="found no"):
        generate(folder, like=str(folder / "absent.cif"))
    (folder / "broken.cif").write_text("not a crystal")
    with pytest.raises(ConfigError, match=r"none of the 1 compositions.*broken\.cif"):
        generate(folder, like=str(folder / "broken.cif"))


def test_a_generator_of_species_keeps_to_no_composition(folder):
    saved(folder / "model.safetensors", generates_species=True)
    with pytest.raises(ConfigError, match="cannot keep to a like"):
        generate(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "NaCl"}, "formula and like contradict"),
        ({"num_atoms": "2"}, "like says how many atoms"),
        ({"space_group": "225"}, "leave space_group out"),
    ],
)
def test_contradictions_are_refused(folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        options(folder, **changes)


def test_crystals_tell_what_they_were_made_like(folder):
    generate(folder)
    told = [crystal.attempt for crystal in read_crystals([folder / "out"])]
    assert told == [(i, j) for i in range(3) for j in range(2)]
    assert {crystal.attempt for crystal in read_crystals([folder / "test.extxyz"])} == {None}


def test_the_folder_is_matched_with_the_file(folder):
    generate(folder)
    sets = {"generated": [folder / "out"], "reference": [folder / "test.extxyz"]}
    crystals = {name: read_crystals(paths) for name, paths in sets.items()}
    found = evaluate_crystals(crystals, CrystalsOptions()).matches
    assert {match.samples for match in found} == {1, 2}
