"""Options of commands and functions: the base class and the groups that several share."""

from matkit.options.base import Options, build, dump_config, resolve
from matkit.options.panels import Panel, Panels, panel_of
from matkit.options.shared import (
    ANY_CALCULATOR,
    DISPERSION_FUNCTIONAL,
    EXECUTOR,
    GOES_ON,
    IGNORE_CHARGE,
    MD_PRECISION,
    PRECISION,
    RUNS_FILE,
    DispersionOptions,
    ReadingOptions,
    SymmetryOptions,
)

__all__ = [
    "ANY_CALCULATOR",
    "DISPERSION_FUNCTIONAL",
    "EXECUTOR",
    "GOES_ON",
    "IGNORE_CHARGE",
    "MD_PRECISION",
    "PRECISION",
    "RUNS_FILE",
    "DispersionOptions",
    "Options",
    "Panel",
    "Panels",
    "ReadingOptions",
    "SymmetryOptions",
    "build",
    "dump_config",
    "panel_of",
    "resolve",
]
