"""Options of commands and functions: the base class and the groups that several share."""

from matkit.options.base import Options, build, dump_config, resolve
from matkit.options.shared import (
    ANY_CALCULATOR,
    IGNORE_CHARGE,
    MD_PRECISION,
    PRECISION,
    ReadingOptions,
)

__all__ = [
    "ANY_CALCULATOR",
    "IGNORE_CHARGE",
    "MD_PRECISION",
    "PRECISION",
    "Options",
    "ReadingOptions",
    "build",
    "dump_config",
    "resolve",
]
