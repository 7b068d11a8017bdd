"""Commands for other programs."""

import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read, write

from matkit.models import checkpoint
from tests.evaluate.labelled import network
from tests.interop.test_lammps import needs_lammps


@pytest.fixture
def tiny(cli):
    """A model that is no good, but quick."""
    return str(checkpoint.save(network((11, 17, 13, 1, 8)), cli.folder / "tiny.safetensors", {}))


def structures():
    slab = fcc111("Al", (1, 1, 2), vacuum=4)
    slab.info.clear()
    crystal = bulk("NaCl", "rocksalt", a=5.64)
    crystal.rattle(0.05, seed=1)
    return {"crystal": crystal, "slab": slab, "water": molecule("H2O")}


@needs_lammps
@pytest.mark.parametrize("name", structures())
def test_the_example_for_lammps_runs(cli, tiny, name):
    atoms = structures()[name]
    write("one.extxyz", atoms)
    said = cli("lammps-example", "my folder", "one.extxyz", "--model", tiny).stdout
    assert "python my folder/run_lammps.py" in said
    script = cli.folder / "my folder" / "run_lammps.py"
    script.write_text(script.read_text().replace("run 100", "run 20"))
    runpy.run_path(str(script))
    last = read("my folder/dump.lammpstrj", "-1")
    assert len(last) == len(atoms)
    assert list(last.pbc) == list(atoms.pbc)
    rows = (cli.folder / "my folder/log.lammps").read_text().split("Step ")[1].splitlines()[1:4]
    energies = np.array([[float(word) for word in row.split()] for row in rows])
    assert energies[-1, 0] == 20
    assert np.isfinite(energies).all()


def test_the_example_without_a_structure_is_rock_salt(cli):
    document = json.loads(cli("lammps-example", "--json").stdout)
    assert document["outputs"] == ["lammps/run_lammps.py", "lammps/structure.data"]
    assert "216 atoms" in (cli.folder / "lammps/structure.data").read_text()
    assert 'elements=["Cl", "Na"]' in (cli.folder / "lammps/run_lammps.py").read_text()


def test_an_adapted_script_is_not_replaced(cli):
    cli("lammps-example", "here")
    script = cli.folder / "here/run_lammps.py"
    script.write_text("# mine")
    assert "already are" in cli("lammps-example", "here", code=2).stderr
    assert script.read_text() == "# mine"
    cli("lammps-example", "here", "--overwrite")
    assert "attach" in script.read_text()


@pytest.mark.parametrize("command", [("lammps-example", "out"), ("ipi-client",)])
def test_several_structures_are_refused(cli, command):
    write("two.extxyz", [molecule("H2O"), molecule("CO")])
    assert "two.extxyz@0" in cli(*command, "two.extxyz", code=2).stderr


def test_the_client_of_ipi_gives_forces(cli, copper):
    atoms, name = read(copper), uuid4().hex
    with ThreadPoolExecutor() as pool:
        with SocketIOCalculator(unixsocket=name, timeout=30) as driver:
            client = pool.submit(cli, "ipi-client", copper, "--unixsocket", name, "--json")
            atoms.calc = driver
            forces = atoms.get_forces()
        said = client.result(30).stdout
    assert json.loads(said)["evaluations"] == 1
    atoms.calc = EMT()
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-10)


def test_the_client_of_ipi_needs_an_address_and_a_structure(cli, copper):
    assert "unix socket or a port" in cli("ipi-client", copper, code=2).stderr
    assert "structure" in cli("ipi-client", "--port", 1234, code=2).stderr
