"""``matkit generate molecule`` leaves a folder with everything."""

import csv
import json
import sys
import zipfile
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import read

from matkit.label import engines
from matkit.models import shipped
from matkit.molecules.perception import structures_of
from matkit.structures import cat
from tests.molecules.files import perceived, sdf_file, tiny_generator


def test_a_folder_with_everything(cli, tmp_path):
    model = tiny_generator(tmp_path)
    out = ["generate", "molecule", "made", "--model", model, "--num-samples", "6", "--steps", "3"]
    result = cli(*out, "--condition", "gap=4", "--known", str(sdf_file(tmp_path / "a.sdf", "CH4")))
    assert "sanitises by the bonds it came with" in result.output
    metrics = json.loads((tmp_path / "made/metrics.json").read_text())
    names = ["valid", "perceived", "perceived by RDKit", "unique", "novel"]
    names += ["atoms stable", "molecules stable"]
    assert [score["name"] for score in metrics["scores"]] == names
    rows = list(csv.DictReader((tmp_path / "made/structures.csv").read_text().splitlines()))
    assert [row["n_atoms"] for row in rows] == sorted(row["n_atoms"] for row in rows)
    assert {"smiles", "valid", "novel", "charge", "reason"} <= set(rows[0])
    frames = read(tmp_path / "made/generated.extxyz", ":")
    assert len(frames) == 6
    with zipfile.ZipFile(tmp_path / "made/molecules.zip") as file:
        assert file.read("generated.sdf").decode().count("$$$$") == 6
    assert "Scores" in (tmp_path / "made/report.html").read_text()
    before = (tmp_path / "made/generated.extxyz").read_bytes()
    cli(*out, "--condition", "gap=4", "--overwrite")
    assert (tmp_path / "made/generated.extxyz").read_bytes() == before


def test_without_a_model_it_says_which_one_is_missing(cli, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", cli.folder / "weights")
    result = cli("generate", "molecule", "made", code=2)
    assert "generator of molecules (--model): this installation has none of" in result.output
    assert "moleculeflow.yaml" in result.output


def test_without_a_model_the_preferred_one_draws(cli, monkeypatch):
    """A file of its name in the folder of weights is enough."""
    monkeypatch.setattr(shipped, "FOLDER", cli.folder / "weights")
    shipped.FOLDER.mkdir()
    Path(tiny_generator(cli.folder)).rename(shipped.FOLDER / "moleculeflow-qm9.safetensors")
    result = cli("generate", "molecule", "made", "--num-samples", 2, "--steps", 2)
    assert "taking moleculeflow-qm9" in result.output
    assert json.loads((cli.folder / "made/metrics.json").read_text())["counts"]["generated"] == 2
    message = cli("generate", "crystal", "others", "--formula", "NaCl", code=2).output
    assert "none of crystalflow-mp20" in message


def test_relaxed_and_checked(cli, monkeypatch):
    """A network that draws two true molecules, one of them compressed."""
    pytest.importorskip("tblite")
    methane = structures_of(perceived(molecule("CH4")))
    squeezed = methane.replace(positions=0.9 * methane.positions)
    monkeypatch.setattr(
        "matkit.generative.moleculeflow.MoleculeFlow.sample",
        lambda *_args: cat([methane, squeezed]),
    )
    model = tiny_generator(cli.folder)
    words = ["--num-samples", 2, "--formula", "CH4", "--relax", "gfn2", "--posebusters", "mol_fast"]
    result = cli("generate", "molecule", "made", "--model", model, *words)
    assert "PoseBusters mol_fast" in result.output
    assert "relaxation energy (gfn2)" in result.output
    one, other = csv.DictReader((cli.folder / "made/structures.csv").read_text().splitlines())
    assert float(one["strain"]) < 1 < 10 < float(other["strain"]) < 100
    assert float(other["rmsd"]) == pytest.approx(0.1, abs=0.02)
    assert one["bonds_kept"] == other["bonds_kept"] == one["posebusters"] == "True"
    assert one["smiles_relaxed"] == "C"
    assert float(other["energy_after"]) == pytest.approx(float(one["energy_after"]), abs=1e-3)
    page = (cli.folder / "made/report.html").read_text()
    assert "data:image/svg+xml" in page
    with zipfile.ZipFile(cli.folder / "made/molecules.zip") as file:
        assert file.namelist() == ["generated.sdf", "relaxed.sdf"]


def test_what_relaxes_is_looked_for_before_anything_is_drawn(cli, monkeypatch):
    model = tiny_generator(cli.folder)
    words = [
        "generate",
        "molecule",
        "made",
        "--model",
        model,
        "--num-samples",
        2,
        "--relax",
        "gfn2",
    ]
    message = cli(*words, "--dispersion", "d3", code=2).output
    assert "xTB has dispersion of its own" in message
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    engines._load.cache_clear()
    assert "matkit[xtb]" in cli(*words, code=2).output
    monkeypatch.setitem(sys.modules, "posebusters", None)
    assert "matkit[posebusters]" in cli(*words[:-2], "--posebusters", "mol", code=2).output
    assert not (cli.folder / "made").exists()


def test_a_model_of_crystals_is_refused_with_the_command_for_it(cli):
    result = cli("generate", "molecule", "made", "--model", "crystalflow-mp20", code=2)
    assert "makes crystals, asked for were molecules" in result.output
    assert "matkit generate crystal" in result.output
