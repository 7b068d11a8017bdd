"""i-PI, or any driver that speaks its protocol, moves the atoms; an ASE calculator gives forces."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.socketio import SocketClient

from matkit.calculator_info import at_precision
from matkit.errors import ConfigError, SimulationError
from matkit.options import MD_PRECISION
from matkit.simulate.dynamics import warn_of_own_forces
from matkit.simulate.inputs import prepare

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

log = logging.getLogger(__name__)


def serve(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    *,
    unixsocket: str | None = None,
    host: str = "localhost",
    port: int | None = None,
) -> int:
    """Give forces to a driver that waits at a socket, until it ends.

    Args:
        structure: What atoms there are, in the driver's order; positions and cell are the driver's,
            the periodicity is that of the structure.
        calc: Any ASE calculator; the potential that comes with matkit if not given. One of matkit
            computes in single precision unless it has a `dtype` of its own, as in `matkit.md`.
        unixsocket: Address of a unix socket, as in i-PI's input.
        host: Machine of the driver, if it is reached by a port.
        port: Port of the driver.

    Returns:
        How many times forces were given.

    Raises:
        ConfigError: not one of `unixsocket` and `port` was given, or the driver has another number
            of atoms.
        SimulationError: no driver waits there, or the connection broke.
        StructureError: it is no structure that can be computed.
    """
    if (unixsocket is None) == (port is None):
        raise ConfigError("Expected either a unix socket or a port: the one in i-PI's input.")
    given, calc = prepare(structure, calc)
    atoms = given.copy()
    atoms.calc = at_precision(calc, MD_PRECISION)
    warn_of_own_forces(calc)
    place = f"/tmp/ipi_{unixsocket}" if port is None else f"{host}:{port}"
    try:
        client = SocketClient(host=host, port=port, unixsocket=unixsocket)
    except OSError as error:
        raise SimulationError(
            f"No driver waits at {place} ({error}). Start i-PI first, with this address."
        ) from error
    _check_atoms(client.protocol, len(atoms))
    try:
        return sum(1 for _ in client.irun(atoms, use_stress=_has_virial(atoms)))
    except OSError as error:
        raise SimulationError(f"The connection to {place} broke: {error}.") from error


def _has_virial(atoms: Atoms) -> bool:
    """Return whether the driver is told a virial, and say so if it should be and is not."""
    if not atoms.pbc.any():
        return False
    has = "stress" in atoms.calc.implemented_properties
    if not has:
        log.warning(
            "The calculator has no stress: the driver gets a virial of zero. Keep the cell fixed."
        )
    return has


def _check_atoms(protocol: Any, expected: int) -> None:
    """Refuse another number of atoms; ASE would put all atoms where a single one is."""
    receive = protocol.recvposdata

    def checked() -> tuple[Any, Any, Any]:
        cell, inverse, positions = receive()
        if len(positions) != expected:
            raise ConfigError(
                f"The structure has {expected} atoms, the driver {len(positions)}: give both the "
                "same atoms in the same order."
            )
        return cell, inverse, positions

    protocol.recvposdata = checked
