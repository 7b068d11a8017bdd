"""Generating crystals into a folder, with a small untrained network."""

import csv
import json
import re
import zipfile
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import read, write

from matkit.cli.display import Display
from matkit.cli.generate import run_generate
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.generation.requests import requests
from matkit.crystals.generation.results import scenes
from matkit.crystals.generation.room import fault
from matkit.errors import ConfigError, DataError, UnknownElementError, UnknownNameError
from matkit.generate.batch import Batch
from matkit.generate.conditions import parse_conditions, properties_asked, strange_conditions
from matkit.generate.relaxing import Relaxer, RelaxingPotential, check_potential
from matkit.interfaces import Generator
from matkit.models import checkpoint, shipped
from matkit.options import build
from matkit.runs.items import Item
from tests.report.sources import external_sources

SEVENNET = RelaxingPotential("sevennet-0", "cpu")

SMALL = {"width": 16, "layers": 2, "harmonics": 4, "time_channels": 8, "miller": 2}
ELEMENTS = [3, 8, 11, 17, 26]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Generators that are given the species, that find them and know a property, or do both."""
    folder, paths = tmp_path_factory.mktemp("models"), []
    for name, more in (
        ("given", {}),
        ("found", {"generates_species": True, "properties": {"gap": [1.0, 0.5]}}),
        ("both", {"generates_species": True, "given": 0.5}),
    ):
        torch.manual_seed(0)
        generator = checkpoint.build(
            "crystalflow", {"species": ELEMENTS, "max_atoms": 8, **SMALL, **more}, Generator
        )
        checkpoint.save(generator, folder / f"{name}.safetensors")
        paths.append(str(folder / f"{name}.safetensors"))
    return dict(zip(("given", "found", "both"), paths, strict=True))


@pytest.fixture
def generate(files, tmp_path):
    """Run the command in a folder of its own; returns the folder and the exit code."""

    def run(out="out", model="given", **changes):
        values = {"model": files[model], "steps": 3, "out": str(tmp_path / out), **changes}
        options = build(CrystalOptions, values)
        return Path(options.out), run_generate(options, "crystal", Display(quiet=True))

    return run


def frames(folder):
    return read(folder / "generated.extxyz", ":")


def test_results_are_complete_and_say_how_they_were_made(generate):
    folder, code = generate(num_samples=5, formula="NaCl,Li2O")
    assert code == 0
    made = frames(folder)
    formulas = sorted(atoms.get_chemical_formula("metal") for atoms in made)
    assert formulas == ["Li2O", "Li2O", "NaCl", "NaCl", "NaCl"]
    assert all(atoms.pbc.all() and atoms.get_volume() > 0 for atoms in made)
    rows = list(csv.DictReader((folder / "structures.csv").read_text().splitlines()))
    assert [int(row["crystal"]) for row in rows] == [0, 1, 2, 3, 4]
    columns = {"structural_validity", "space_group_0.01", "space_group_0.1", "density", "unique"}
    assert columns <= rows[0].keys()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["counts"]["generated"] == 5
    assert metrics["counts"]["network_calls_per_crystal"] == 3
    assert metrics["model"]["model"] == "crystalflow"
    assert {"constructed", "uniqueness"} <= {score["name"] for score in metrics["scores"]}
    with zipfile.ZipFile(folder / "crystals.zip") as archive:
        assert len(archive.namelist()) == 5
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") == 1
    assert page.count("<canvas") == 5
    assert external_sources(page) == []
    links = re.findall(r'href="([^"]+)"', page)
    assert set(links) >= {"generated.extxyz", "crystals.zip", "structures.csv"}
    assert all((folder / link).is_file() for link in links)
    assert "energies in eV/atom" in page
    assert (folder / "config.yaml").exists()


def test_a_crystal_depends_on_its_seed_alone(generate):
    one = frames(generate("one", num_samples=4, formula="Na2O", batch_size=4)[0])
    alone = frames(generate("alone", num_samples=4, formula="Na2O", batch_size=1)[0])
    other = frames(generate("other", num_samples=4, formula="Na2O", seed=1)[0])
    for a, b, c in zip(one, alone, other, strict=True):
        assert np.allclose(a.positions, b.positions, atol=1e-4)
        assert not np.allclose(a.positions, c.positions, atol=1e-2)


def test_shards_make_the_same_crystals(generate):
    whole, _ = generate("whole", num_samples=5, formula="NaCl")
    for shard in ("1/2", "2/2"):
        folder, _ = generate("parts", num_samples=5, formula="NaCl", shard=shard)
    parts = [a for path in sorted(folder.glob("generated-*.extxyz")) for a in read(path, ":")]
    parts.sort(key=lambda atoms: atoms.info["crystal"])
    for a, b in zip(frames(whole), parts, strict=True):
        assert a.info == b.info
        assert np.allclose(a.positions, b.positions, atol=1e-4)


def test_an_interrupted_run_goes_on(generate):
    folder, _ = generate("whole", num_samples=4, formula="NaCl", batch_size=1)
    wanted = (folder / "generated.extxyz").read_text()
    ledger = folder / "generated.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:2]))
    before = ledger.read_text()
    again, _ = generate("whole", num_samples=4, formula="NaCl", batch_size=1)
    assert ledger.read_text().startswith(before), "what was finished is not done again"
    assert (again / "generated.extxyz").read_text() == wanted
    with pytest.raises(ConfigError, match="num_samples = 4 then, 5 now"):
        generate("whole", num_samples=5, formula="NaCl", batch_size=1)
    assert len(frames(generate("whole", num_samples=5, formula="NaCl", overwrite=True)[0])) == 5


def test_compositions_of_a_system_are_drawn(generate):
    folder, _ = generate(num_samples=6, chemical_system="Li-Fe-O", num_atoms="4-8")
    for atoms in frames(folder):
        assert set(atoms.symbols) == {"Li", "Fe", "O"}
        assert 4 <= len(atoms) <= 8
    folder, _ = generate("elements", num_samples=6, elements="Li,Na,O,Cl")
    for atoms in frames(folder):
        assert 2 <= len(set(atoms.symbols)) <= 4
        assert set(atoms.symbols) <= {"Li", "Na", "O", "Cl"}


def test_units_of_a_composition_are_counted(generate):
    folder, _ = generate(num_samples=3, composition="NaCl", z="1-3")
    assert sorted(len(atoms) for atoms in frames(folder)) == [2, 4, 6]


def test_a_space_group_is_kept_to(generate):
    from matkit.crystals.judging import space_group
    from matkit.crystals.reading import crystal_of

    folder, _ = generate(num_samples=3, formula="NaCl", space_group="Fm-3m")
    for atoms in frames(folder):
        assert space_group(crystal_of(atoms, "").structure, 0.001) in (221, 225)
    folder, _ = generate("drawn", num_samples=4, chemical_system="Li-O", space_group="194")
    assert all(set(atoms.symbols) == {"Li", "O"} for atoms in frames(folder))
    folder, _ = generate("found", model="found", num_samples=3, space_group="227")
    assert {len(atoms) for atoms in frames(folder)} <= {2, 4, 6, 8}, "227 has no orbit of one atom"


def test_species_are_found_where_nothing_says_them(generate):
    folder, _ = generate(model="both", num_samples=3, formula="NaCl")
    assert [atoms.get_chemical_formula() for atoms in frames(folder)] == ["ClNa"] * 3
    folder, _ = generate("system", model="both", num_samples=2, chemical_system="Li-O")
    assert all(set(atoms.symbols) == {"Li", "O"} for atoms in frames(folder))
    folder, _ = generate("free", model="both", num_samples=8, num_atoms="2")
    assert len({atoms.get_chemical_formula() for atoms in frames(folder)}) > 2


def test_species_may_be_generated_and_properties_asked_for(generate):
    folder, _ = generate(model="found", num_samples=3, num_atoms="3", condition="gap=2.0")
    assert [len(atoms) for atoms in frames(folder)] == [3, 3, 3]
    free, _ = generate("free", model="found", num_samples=3, num_atoms="3")
    pairs = zip(frames(folder), frames(free), strict=True)
    assert any(not np.allclose(a.cell, b.cell) for a, b in pairs)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, ConfigError, "needs to know the atoms"),
        ({"formula": "Na8Cl8"}, ConfigError, "up to 8 atoms"),
        ({"formula": "UO2"}, UnknownElementError, "U"),
        ({"formula": "NaCl", "condition": "gap=1"}, ConfigError, "not trained on gap"),
        ({"model": "found", "formula": "NaCl"}, ConfigError, "finds the species itself"),
        ({"model": "found", "condition": "gap"}, ConfigError, "name=value"),
        ({"model": "found", "optimize": "gap=min"}, ConfigError, "does not search for properties"),
        ({"formula": "NaCl", "shard": "3/2"}, ConfigError, "shard"),
        ({"formula": "NaCl", "space_group": "Fm-4m"}, UnknownNameError, "no space group"),
        ({"formula": "NaCl", "space_group": "227"}, ConfigError, "possible are"),
        ({"model": "found", "num_atoms": "1-9"}, ConfigError, "up to 8 atoms, asked for 1-9"),
        ({"model": "found", "num_atoms": "1", "space_group": "227"}, ConfigError, "Wyckoff"),
    ],
)
def test_impossible_requests_are_refused_before_sampling(generate, changes, error, message):
    with pytest.raises(error, match=message):
        generate(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"relax": "no-such"}, UnknownNameError, "Unknown model 'no-such'"),
        ({"relax": "crystalflow-mp20"}, UnknownNameError, "is a generator"),
        ({"relax": "hip-gfn2-chno"}, UnknownElementError, "does not know Na, Cl, which is"),
        ({"known": "absent"}, DataError, "found no absent"),
    ],
)
def test_what_is_needed_after_sampling_is_missed_before(
    generate, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        generate(formula="NaCl", **changes)
    assert not (tmp_path / "out").exists()


def test_the_default_potential_may_be_asked_for_by_that_name():
    text = check_potential(RelaxingPotential("default", "cpu"), [11, 17], [])
    assert text == "Relaxing with nequip-universal; float32 on cpu"
    text = check_potential(RelaxingPotential("default, hip-gfn2-chno", "cpu"), [], [8, 26])
    assert "Structures with Fe cannot be relaxed" in text


def test_conditions_outside_of_the_training_set_are_remarked_on():
    learnt = {"gap": {"min": 0.0, "max": 5.0}}
    assert strange_conditions({"gap": 2.0}, learnt) == strange_conditions({"gap": 9.0}, {}) == []
    assert strange_conditions({"gap": -inf}, learnt) == [], "the least there is"
    (remark,) = strange_conditions({"gap": 9.0}, learnt)
    assert "gap = 9 lies outside of the training set (0 to 5)" in remark


def test_as_many_as_are_fast_are_made_together():
    assert build(CrystalOptions, {"batch_size": "auto"}).batch_size is None
    assert build(CrystalOptions, {"batch_size": "4"}).batch_size == 4


def test_enormous_cells_are_not_drawn():
    cells = {0: bulk("NaCl", "rocksalt", a=5.64), 1: bulk("NaCl", "rocksalt", a=1e7)}
    for number, atoms in cells.items():
        atoms.info["crystal"] = number
    first, second = scenes(Batch("crystal", list(cells.values()), {}))
    assert len(first["frames"][0]["atoms"]) > 2, "atoms on faces are repeated"
    assert first["title"] == "0: NaCl"
    assert second["skipped"] == "7.07e+06 Å long"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "NaCl", "elements": "Na,Cl"}, "contradict each other"),
        ({"z": "2"}, "give composition too"),
        ({"formula": "NaCl", "num_atoms": "2"}, "leave num_atoms out"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(CrystalOptions, changes)


def test_a_model_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "none")
    for model in (None, "no-such-model"):
        options = build(CrystalOptions, {"model": model, "out": str(tmp_path), "formula": "NaCl"})
        with pytest.raises(UnknownNameError, match="generator"):
            run_generate(options, "crystal", Display(quiet=True))


def test_conditions_are_numbers_given_once():
    assert parse_conditions(["gap=1.5", "density = 3"]) == {"gap": 1.5, "density": 3.0}
    for texts in (["gap"], ["gap=wide"], ["=1"], ["gap=1", "gap=2"], ["gap=nan"]):
        with pytest.raises(ConfigError, match="name=value"):
            parse_conditions(texts)


def test_goals_may_be_words():
    options = build(CrystalOptions, {"optimize": ["gap=min", "density = 3"], "condition": ["a=1"]})
    assert properties_asked(options) == {"a": 1.0, "gap": -inf, "density": 3.0}
    with pytest.raises(ConfigError, match="name=min or name=max, each once"):
        properties_asked(build(CrystalOptions, {"optimize": ["gap=inf"]}))
    with pytest.raises(ConfigError, match="gap is a condition and is to be optimized"):
        properties_asked(build(CrystalOptions, {"optimize": ["gap=1"], "condition": ["gap=1"]}))


def test_requests_are_sorted_by_size_and_repeatable(files):
    generator, _ = checkpoint.load(files["given"], Generator)
    options = CrystalOptions(num_samples=20, elements="Li,Na,O,Cl")
    items = requests(options, generator)
    sizes = [item.content[1] for item in items]
    assert sizes == sorted(sizes)
    assert [item.content for item in requests(options, generator)] == [i.content for i in items]
    assert all(item.content[1] == len(item.content) - 2 for item in items)


def test_sizes_are_drawn_as_in_the_training_set(files):
    generator, _ = checkpoint.load(files["found"], Generator)
    options = CrystalOptions(num_samples=400)
    drawn = [item.content[1] for item in requests(options, generator, {2: 3, 5: 1})]
    assert set(drawn) == {2, 5}
    assert drawn.count(2) == pytest.approx(300, abs=40)
    assert {item.content[1] for item in requests(options, generator)} == set(range(1, 9))


def test_what_is_no_crystal_is_not_relaxed():
    assert fault(bulk("Cu")) == ""
    close = bulk("NaCl", "rocksalt", a=5.64)
    close.positions[1] = close.positions[0] + [0.1, 0, 0]
    assert "0.10 Å apart" in fault(close)
    outcome = Relaxer(SEVENNET, 3, 0.05)([Item(0, "crystal 0", close)])[0]
    assert (outcome.status, outcome.frames) == ("rejected", ())


def test_crystals_are_relaxed_by_a_potential(generate, tmp_path):
    pytest.importorskip("sevenn")
    stretched = bulk("NaCl", "rocksalt", a=5.9)
    relaxer = Relaxer(SEVENNET, 200, 0.05)
    outcome = relaxer([Item(0, "crystal 0", stretched)])[0]
    assert outcome.status == "done"
    assert outcome.frames[0].cell.cellpar()[0] == pytest.approx(5.69 / np.sqrt(2), abs=0.03)
    assert outcome.facts["energy_after"] < outcome.facts["energy_before"]
    short = Relaxer(SEVENNET, 1, 0.05)([Item(0, "crystal 0", stretched)])[0]
    assert short.status == "failed"
    assert "not converged" in short.reason
    write(tmp_path / "known.extxyz", bulk("NaCl", "rocksalt", a=5.64))
    folder, _ = generate(
        num_samples=2,
        formula="NaCl",
        relax="sevennet-0",
        relax_steps=1,
        known=str(tmp_path / "known.extxyz"),
    )
    rows = list(csv.DictReader((folder / "structures.csv").read_text().splitlines()))
    assert all(row["relaxed"] == "False" for row in rows)
    assert not (folder / "relaxed.extxyz").exists(), "an empty file would be read as damaged"
    assert {row["novel"] for row in rows} <= {"True", "False"}


def test_repeats_are_left_out_of_the_archive(generate, monkeypatch):
    folder, _ = generate("plain", num_samples=3, formula="Fe")
    with zipfile.ZipFile(folder / "crystals.zip") as archive:
        assert len(archive.namelist()) == 3
    # Cells of one atom that differ in volume only match each other.
    folder, _ = generate("plain", num_samples=3, formula="Fe", dedupe=True)
    rows = list(csv.DictReader((folder / "structures.csv").read_text().splitlines()))
    unique = sum(row["unique"] == "True" for row in rows)
    with zipfile.ZipFile(folder / "crystals.zip") as archive:
        assert len(archive.namelist()) == unique
