import csv

import pytest
from ase.build import bulk, molecule
from ase.io import read, write

from matkit.elastic import elastic
from matkit.units import GPA
from tests.phonons.lattice import argon, springs


@pytest.fixture
def crystal(cli):
    """The command line with springs in the place of the model, and a crystal at rest."""
    cli.calculator = springs
    write("argon.vasp", argon())
    return cli


def test_files_and_tables(crystal):
    result = crystal("elastic", "argon.vasp")
    assert "argon.vasp Ar: converged, 6 strained cells, stable, K " in result.stdout
    (row,) = crystal.summary("argon")["structures"]
    known = elastic(read("argon.vasp"), springs())
    assert row["bulk"] == pytest.approx(known.moduli.bulk / GPA)
    with open("results/argon-elastic.csv") as file:
        table = list(csv.DictReader(file))
    assert [line["GPa"] for line in table] == ["xx", "yy", "zz", "yz", "xz", "xy"]
    assert float(table[3]["yz"]) == pytest.approx(known.stiffness[3, 3] / GPA, abs=1e-5)
    assert len(read("results/argon-elastic.extxyz")) == 1


def test_strains_are_lists_of_flags(crystal):
    crystal("elastic", "argon.vasp", "--shear-strains", "[-0.001, 0.001]")
    assert crystal.summary("argon")["options"]["shear_strains"] == [-0.001, 0.001]
    assert crystal.summary("argon")["structures"][0]["strains"] == 5


def test_bad_input_among_good_costs_itself_alone(crystal):
    write("water.xyz", molecule("H2O"))
    stressed = argon()
    stressed.set_cell(stressed.cell * 0.95, scale_atoms=True)
    write("stressed.vasp", stressed)
    files = ("argon.vasp", "water.xyz", "stressed.vasp")
    result = crystal("elastic", *files, "--no-relax", code=1)
    assert "argon.vasp Ar: done" in result.stdout
    assert "pbc = True in three directions" in result.stdout
    assert "at rest, but the largest stress is" in result.stdout


def test_a_run_goes_on_where_it_was_stopped(crystal):
    write("two.extxyz", [argon(), bulk("Ar", "hcp", a=3.75)])
    crystal("elastic", "two.extxyz")
    (crystal.folder / "results" / "two-summary.json").unlink()
    assert (
        "two.extxyz[0]: done before" in crystal("elastic", "two.extxyz", "--restart", "auto").stdout
    )


def test_a_template_can_be_run(crystal):
    (crystal.folder / "all.yaml").write_text(crystal("template", "elastic").stdout)
    crystal("elastic", "argon.vasp", "--config", "all.yaml")
