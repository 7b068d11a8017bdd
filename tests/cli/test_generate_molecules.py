"""``matkit generate molecule`` leaves a folder with everything."""

import csv
import json
import zipfile

from ase.io import read

from tests.molecules.files import sdf_file, tiny_generator


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


def test_without_a_model_it_says_that_none_comes_with_matkit(cli):
    result = cli("generate", "molecule", "made", code=2)
    assert "No generator of molecules comes with matkit" in result.output


def test_a_model_of_crystals_is_refused_with_the_command_for_it(cli):
    result = cli("generate", "molecule", "made", "--model", "crystalflow-mp20", code=2)
    assert "makes crystals, asked for were molecules" in result.output
    assert "matkit generate crystal" in result.output
