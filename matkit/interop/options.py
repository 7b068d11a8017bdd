"""Options of the commands for other programs: the one place where defaults are written."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.options import (
    IGNORE_CHARGE,
    MD_PRECISION,
    DispersionOptions,
    Panel,
    Panels,
    ReadingOptions,
    SymmetryOptions,
)


class LammpsExampleOptions(ReadingOptions):
    """Options of `lammps_example`."""

    panels: ClassVar[Panels] = {Panel.RUN: ("overwrite",)}

    out: str = Field("lammps", description="folder of the script and of the data file")
    struct: str | None = Field(
        None, description="file with one structure; 216 atoms of rock salt if not given"
    )
    model: str = Field(
        DEFAULT_POTENTIAL, description="model name, file, or a pattern of files for a committee"
    )
    overwrite: bool = Field(False, description="replace files that are already there")


class IPIClientOptions(ReadingOptions, SymmetryOptions, DispersionOptions):
    """Options of ``matkit ipi-client``."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "dtype"),
        Panel.ADVANCED: ("any_level", "ignore_charge"),
    }

    struct: str | None = Field(
        None, description="file with the structure, its atoms in the order that i-PI has"
    )
    unixsocket: str | None = Field(None, description="address of a unix socket in i-PI's input")
    host: str = Field("localhost", description="machine that i-PI runs on, with a port")
    port: int | None = Field(None, ge=1, le=65535, description="port in i-PI's input")
    model: str = Field(
        DEFAULT_POTENTIAL, description="model name, file, or a pattern of files for a committee"
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] = Field(
        MD_PRECISION, description="precision of the model's arithmetic"
    )
    ignore_charge: bool = IGNORE_CHARGE
    any_level: bool = Field(
        False,
        description="use a fine-tuned model for elements too whose energies are still at the level "
        "of its base",
    )
