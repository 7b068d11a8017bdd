"""``matkit lammps-example`` and ``matkit ipi-client``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from matkit.cli.commands import Given, command_for, only
from matkit.errors import ConfigError, StructureError
from matkit.interop.options import IPIClientOptions, LammpsExampleOptions

if TYPE_CHECKING:
    from ase import Atoms

    from matkit.cli.display import Display

OK = 0


def lammps_example_command() -> Callable[..., None]:
    """Return the command with its flags."""
    structure = only("struct", "expected a folder and one structure")

    def sort(files: list[str], given: Given, has_config: bool) -> None:
        if files and "out" not in given:
            given["out"] = files.pop(0)
        structure(files, given, has_config)

    return command_for(LammpsExampleOptions, run_lammps_example, "[OUT] [STRUCTURE]", sort)


def ipi_client_command() -> Callable[..., None]:
    """Return the command with its flags."""
    structure = only("struct", "expected one structure")
    return command_for(IPIClientOptions, run_ipi_client, "STRUCTURE", structure)


def run_lammps_example(options: LammpsExampleOptions, display: Display) -> int:
    """Write a script that runs LAMMPS, and its data file."""
    from matkit.interop.lammps_example import lammps_example

    atoms = None if options.struct is None else _only_structure(options.struct, options.format)
    paths = lammps_example(atoms, options.out, options.model, options.overwrite)
    display.result(f"wrote {' and '.join(map(str, paths))}; run it by: python {paths[0]}")
    display.document({"command": "lammps-example", "outputs": [str(path) for path in paths]})
    return OK


def run_ipi_client(options: IPIClientOptions, display: Display) -> int:
    """Give forces to i-PI until it ends."""
    from matkit.cli import loading
    from matkit.interop.ipi import serve

    if options.struct is None:
        raise ConfigError("Expected a file with the structure, got none.")
    atoms = _only_structure(options.struct, options.format)
    calc = loading.load_model(options)
    steps = serve(atoms, calc, unixsocket=options.unixsocket, host=options.host, port=options.port)
    display.result(f"{atoms.get_chemical_formula()}: gave forces {steps} times; the driver ended")
    display.document({"command": "ipi-client", "evaluations": steps})
    return OK


def _only_structure(path: str, format: str | None) -> Atoms:
    from matkit.simulate.reading import read_frames

    frames = read_frames(path, format)
    if len(frames) != 1 or frames[0].atoms is None:
        raise StructureError(
            f"Expected one structure in {path}, got {len(frames)}: name one, such as {path}@0."
        )
    return frames[0].atoms
