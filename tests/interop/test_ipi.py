"""A driver at a socket, such as i-PI, gets from us what our calculators give."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.socketio import IPIProtocol, SocketIOCalculator
from ase.optimize import BFGS

from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.interop.ipi import serve
from tests.interop.test_lammps import morse, triclinic

SECONDS = 30


@pytest.fixture
def unixsocket():
    return {"unixsocket": uuid4().hex}


def driven(atoms, address, client, drive):
    """What `client` returns that gives forces, while `drive` moves atoms that get them."""
    with ThreadPoolExecutor() as pool:
        with SocketIOCalculator(**address, timeout=SECONDS) as driver:
            future = pool.submit(client)
            atoms.calc = driver
            try:
                drive(atoms)
            except Exception:  # then the client says why
                if future.exception(SECONDS) is None:
                    raise
        return future.result(SECONDS)


def test_energy_forces_and_stress_are_those_of_the_calculator(unixsocket):
    atoms, found = triclinic(), {}

    def drive(moved):
        for _ in range(3):
            moved.rattle(0.05)
            moved.set_cell(moved.cell * 1.01, scale_atoms=True)
            found.update(
                energy=moved.get_potential_energy(),
                forces=moved.get_forces(),
                stress=moved.get_stress(),
            )

    assert driven(atoms, unixsocket, lambda: serve(triclinic(), morse(), **unixsocket), drive) == 3
    atoms.calc = morse()
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(found["stress"], atoms.get_stress(), atol=1e-10)


def test_a_driver_is_reached_by_a_port():
    def drive(listener):
        connection, _ = listener.accept()
        with connection:
            driver = IPIProtocol(connection)
            results = driver.calculate(atoms.positions, atoms.cell.array)
            driver.end()
            return results

    atoms = triclinic()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        results = pool.submit(drive, listener)
        assert serve(atoms, morse(), host="127.0.0.1", port=listener.getsockname()[1]) == 1
    atoms.calc = morse()
    np.testing.assert_allclose(results.result()["forces"], atoms.get_forces(), atol=1e-10)


def test_the_structure_that_is_given_is_not_moved(unixsocket):
    given = triclinic()
    before = given.positions.copy()
    driven(triclinic(), unixsocket, lambda: serve(given, morse(), **unixsocket), rattled_energy)
    assert (given.positions == before).all()
    assert given.calc is None


def rattled_energy(atoms):
    atoms.rattle(0.1)
    atoms.get_potential_energy()


def test_a_molecule_has_no_virial(unixsocket):
    atoms = molecule("CO")
    driven(atoms, unixsocket, lambda: serve(molecule("CO"), EMT(), **unixsocket), relax)
    atoms.calc = EMT()
    assert atoms.get_forces().max() < 0.1


def relax(atoms):
    BFGS(atoms, logfile=None).run(fmax=0.1)


class NoStress(EMT):
    implemented_properties: list = ["energy", "forces"]  # noqa: RUF012 ASE's form


def test_a_virial_that_is_missing_is_said(unixsocket, caplog):
    atoms = triclinic()
    atoms.symbols = "Cu8"
    calc = NoStress()
    with caplog.at_level(logging.WARNING):
        driven(atoms.copy(), unixsocket, lambda: serve(atoms, calc, **unixsocket), rattled_energy)
    assert "virial of zero" in caplog.text


def test_another_number_of_atoms_is_refused(unixsocket):
    with pytest.raises(ConfigError, match="8 atoms, the driver 1"):
        driven(
            triclinic()[:1], unixsocket, lambda: serve(triclinic(), morse(), **unixsocket), energy
        )


def energy(atoms):
    atoms.get_potential_energy()


def test_errors_of_the_calculator_are_raised(unixsocket):
    copper = triclinic()
    copper.symbols = "Cu8"
    with pytest.raises(StructureError, match="Cu"):
        driven(copper, unixsocket, lambda: serve(copper.copy(), morse(), **unixsocket), energy)


# ASE leaves it to the garbage collector to close a socket that found nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("address", [{"unixsocket": "nobody-here"}, {"port": 1}])
def test_nobody_at_the_socket_is_an_error(address):
    with pytest.raises(SimulationError, match="Start i-PI first"):
        serve(triclinic(), morse(), **address)


@pytest.mark.parametrize("address", [{}, {"unixsocket": "a", "port": 2}])
def test_there_is_one_address(address):
    with pytest.raises(ConfigError, match="either a unix socket or a port"):
        serve(triclinic(), morse(), **address)


def test_a_driver_that_breaks_off_is_an_error():
    def break_off(listener):
        connection, _ = listener.accept()
        driver = IPIProtocol(connection)
        driver.status()
        atoms = triclinic()
        driver.sendposdata(atoms.cell.array, np.eye(3), atoms.positions)
        # An answer that nobody reads makes the operating system reset the connection.
        driver.sendmsg("STATUS")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        done = pool.submit(break_off, listener)
        with pytest.raises(SimulationError, match="broke"):
            serve(triclinic(), morse(), port=listener.getsockname()[1])
        done.result(SECONDS)
