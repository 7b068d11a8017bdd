"""Options that several commands share, written once."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from matkit.options.base import Options
from matkit.options.panels import Panel

# Marks options that name a calculator by any function: only users may do that, and no file.
ANY_CALCULATOR: dict[str, Any] = {"names": "calculator"}
# In which models compute if nobody says otherwise: curvatures and small forces need the second, and
# dynamics, whose trajectories part anyway, the speed of the first.
PRECISION: Final = "float64"
MD_PRECISION: Final = "float32"
# Of campaigns, whose ledger says what is done.
GOES_ON: Final = "the same command goes on with what was stopped, as restart auto elsewhere"
# Functional whose correction for dispersion is taken if nobody says otherwise.
DISPERSION_FUNCTIONAL: Final = "pbe"
# Marks options that may name a Python file to be run: only users may do that, and no file.
RUNS_FILE: dict[str, Any] = {"names": "executor"}
# Of every command whose work can be spread.
EXECUTOR: Any = Field(
    "local",
    description="where the work is done: local (processes of this machine), parsl or dask (workers "
    "of theirs on this machine), parsl:CONFIG.py (a Python file that defines `config`), or "
    "dask:ADDRESS of a scheduler",
    json_schema_extra=RUNS_FILE,
)
# Of every command that computes with a model.
IGNORE_CHARGE: Any = Field(
    False,
    description="compute structures with a charge or multiplicity that the model does not take "
    "into account as neutral singlets, instead of refusing them",
)


class ReadingOptions(Options):
    """How files of structures are read."""

    panel: ClassVar[Panel] = Panel.ADVANCED

    format: str | None = Field(
        None,
        description="format of the files if their names do not tell it, as ASE calls it, such as "
        "extxyz, cif, vasp or espresso-in; also csv and parquet",
    )


class SymmetryOptions(Options):
    """Averages over turned copies, of every command that computes with a model as it is."""

    panel: ClassVar[Panel] = Panel.MODEL

    symmetrize: str | None = Field(
        None,
        description="average predictions over turned copies of each structure, for models that "
        "know no symmetry: grid:24, grid:120, ... or frames; or take the copy of lowest energy: "
        "energy:24, ...",
    )


class DispersionOptions(Options):
    """Dispersion added to a model, of every command that computes with one."""

    panel: ClassVar[Panel] = Panel.MODEL

    dispersion: Literal["d3", "d3bj"] | None = Field(
        None,
        description="dispersion added to the potential: D3, damped to zero (d3) or as by Becke "
        "and Johnson (d3bj); needs matkit[dispersion]",
    )
    dispersion_functional: str = Field(
        DISPERSION_FUNCTIONAL,
        description="density functional of the labels that the potential was trained on",
    )
