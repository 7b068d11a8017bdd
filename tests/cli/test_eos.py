import csv

import pytest
from ase.build import bulk, molecule
from ase.io import read, write


def test_files_and_words(cli):
    write("cu.vasp", bulk("Cu"))
    result = cli("eos", "cu.vasp", "--points", 7)
    assert "cu.vasp Cu: converged, birch-murnaghan of 7 volumes, V0 " in result.stdout
    (row,) = cli.summary("cu")["structures"]
    assert f"B0 {row['bulk_modulus']:.2f} GPa" in result.stdout
    with open("results/cu-eos.csv") as file:
        volumes = [float(line["volume_A3"]) for line in csv.DictReader(file)]
    assert volumes == pytest.approx(row["volumes"], abs=1e-5)
    assert (cli.folder / "results" / "cu-eos.png").read_bytes().startswith(b"\x89PNG")
    frames = read("results/cu-volumes.extxyz", ":")
    assert [frame.get_volume() for frame in frames] == pytest.approx(volumes, abs=1e-4)


def test_bad_input_among_good_costs_itself_alone(cli):
    write("cu.vasp", bulk("Cu"))
    write("far.vasp", bulk("Cu", a=3.0))
    write("water.xyz", molecule("H2O"))
    result = cli("eos", "cu.vasp", "far.vasp", "water.xyz", "--no-relax", code=1)
    assert "cu.vasp Cu: converged" in result.stdout
    assert "Raise expand, or relax" in result.stdout
    assert "pbc = True in three directions" in result.stdout


def test_a_template_can_be_run(cli):
    write("cu.vasp", bulk("Cu"))
    (cli.folder / "all.yaml").write_text(cli("template", "eos").stdout)
    cli("eos", "cu.vasp", "--config", "all.yaml")
