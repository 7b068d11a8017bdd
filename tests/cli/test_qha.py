import csv

import pytest
from ase.build import molecule
from ase.io import write

from tests.phonons.lattice import argon, morse

QUICK = ("--min-length", 5, "--mesh", 10, "--points", 5, "--max-temperature", 200)


@pytest.fixture
def crystal(cli):
    """The command line with a pair potential in the place of the model, and a crystal."""
    cli.calculator = morse
    write("argon.vasp", argon())
    return cli


def test_files_and_tables(crystal):
    result = crystal("qha", "argon.vasp", *QUICK)
    assert "argon.vasp Ar: converged, 5 volumes, supercell " in result.stdout
    assert "expansion (1e-6/K)" in result.stdout
    (row,) = crystal.summary("argon")["structures"]
    with open("results/argon-qha.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(line["temperature_K"]) for line in rows] == [10.0 * i for i in range(21)]
    assert float(rows[-1]["volume_A3"]) == pytest.approx(row["volume"])
    assert (crystal.folder / "results" / "argon-qha.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_among_good_costs_itself_alone(crystal):
    write("water.xyz", molecule("H2O"))
    result = crystal("qha", "argon.vasp", "water.xyz", *QUICK, code=1)
    assert "argon.vasp Ar: converged" in result.stdout
    assert "pbc = True in three directions" in result.stdout


def test_a_template_can_be_run(crystal):
    text = crystal("template", "qha").stdout
    (crystal.folder / "all.yaml").write_text(text.replace("mesh: 50.0", "mesh: 10.0"))
    crystal("qha", "argon.vasp", "--config", "all.yaml", *QUICK)
