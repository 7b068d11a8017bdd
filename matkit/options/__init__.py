"""Options of commands and functions: the base class and the groups that several share."""

from matkit.options.base import Options, build, dump_config, resolve
from matkit.options.panels import Panel, Panels, panel_of
from matkit.options.shared import (
    ANY_CALCULATOR,
    DISPERSION_FUNCTIONAL,
    GOES_ON,
    IGNORE_CHARGE,
    MD_PRECISION,
    PRECISION,
    DispersionOptions,
    ReadingOptions,
)

__all__ = [
    "ANY_CALCULATOR",
    "DISPERSION_FUNCTIONAL",
    "GOES_ON",
    "IGNORE_CHARGE",
    "MD_PRECISION",
    "PRECISION",
    "DispersionOptions",
    "Options",
    "Panel",
    "Panels",
    "ReadingOptions",
    "build",
    "dump_config",
    "panel_of",
    "resolve",
]
