import csv

import phonopy
import pytest
import yaml
from ase.build import bulk, molecule
from ase.io import read, write

from tests.phonons.lattice import argon, morse
from tests.phonons.test_predicted import predictor

QUICK = ("--min-length", 7, "--mesh", 15, "--band-points", 6)


@pytest.fixture
def crystal(cli):
    """The command line with a pair potential in the place of the model, and a crystal."""
    cli.calculator = morse
    write("argon.vasp", argon())
    return cli


def test_files_and_tables(crystal):
    result = crystal("phonons", "argon.vasp", *QUICK, "--max-temperature", 300)
    assert "argon.vasp Ar: converged, supercell 3x3x3 (1 displaced)" in result.stdout
    assert "free energy (eV)" in result.stdout
    (row,) = crystal.summary("argon")["structures"]
    assert f"highest frequency {row['max_frequency']:.3f} THz" in result.stdout
    folder = crystal.folder / "results"
    assert (folder / "argon-phonons.png").read_bytes().startswith(b"\x89PNG")
    bands = yaml.safe_load((folder / "argon-bands.yaml").read_text())
    highest = max(b["frequency"] for point in bands["phonon"] for b in point["band"])
    assert highest == pytest.approx(row["max_frequency"], abs=1e-6)
    thermal = yaml.safe_load((folder / "argon-thermal.yaml").read_text())
    assert thermal["thermal_properties"][-1]["temperature"] == 300
    with open(folder / "argon-dos.csv") as file:
        assert sum(float(line["states_per_THz"]) for line in csv.DictReader(file)) > 0
    assert len(read(folder / "argon-phonons.extxyz")) == 1


def test_phonopy_goes_on_from_the_file(crystal):
    crystal("phonons", "argon.vasp", *QUICK)
    (row,) = crystal.summary("argon")["structures"]
    again = phonopy.load("results/argon-phonopy.yaml", is_compact_fc=False, log_level=0)
    assert again.force_constants.shape == (27, 27, 3, 3)
    frequencies = again.run_qpoints([[0.5, 0.5, 0]]).frequencies
    assert frequencies.max() == pytest.approx(row["max_frequency"], rel=1e-3)


def test_predicted_force_constants_need_no_supercell(crystal):
    crystal.calculator = predictor
    result = crystal("phonons", "argon.vasp", *QUICK, "--no-relax", "--method", "predict")
    source = "supercell 3x3x3 (filled by one prediction for the primitive cell), highest"
    assert source in result.stdout
    again = phonopy.load("results/argon-phonopy.yaml", is_compact_fc=True, log_level=0)
    assert again.force_constants.shape == (1, 27, 3, 3)


def test_bad_input_among_good(crystal):
    write("water.xyz", molecule("H2O"))
    result = crystal("phonons", "argon.vasp", "water.xyz", *QUICK, code=1)
    assert "argon.vasp Ar: converged" in result.stdout
    assert "matkit vibrations" in result.stdout


def test_results_are_not_replaced(crystal):
    crystal("phonons", "argon.vasp", *QUICK)
    assert "already are" in crystal("phonons", "argon.vasp", *QUICK, code=2).stderr


def test_a_template_can_be_run(crystal):
    text = crystal("template", "phonons").stdout
    (crystal.folder / "all.yaml").write_text(text.replace("mesh: 50.0", "mesh: 15.0"))
    crystal("phonons", "argon.vasp", "--config", "all.yaml", "--min-length", 5)
    assert crystal.summary("argon")["options"]["mesh"] == 15


def test_unknown_elements_are_an_error(crystal):
    write("copper.vasp", bulk("Cu"))
    assert "does not know Cu" in crystal("phonons", "copper.vasp", *QUICK, code=2).stderr
