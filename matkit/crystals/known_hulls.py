"""Tables of phases that come with matkit: one for the weights of each potential that has one.

A table is ``hull-NAME-DIGEST.csv`` beside this file, with the first twelve digits of the SHA-256
of the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from matkit.calculator_info import model_info
from matkit.errors import ConfigError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

# What is said in the place of a file.
DEFAULT: Final = "default"
FOLDER: Final = Path(__file__).parent


def known_hull(calc: Calculator) -> Path:
    """Return the table of phases of a potential.

    Args:
        calc: Calculator of the potential.

    Raises:
        ConfigError: there is none of these weights, or something is added to the potential.
    """
    info = model_info(calc)
    digest = str(info.get("sha256", ""))[:12]
    known = {path.stem.rpartition("-")[2]: path for path in sorted(FOLDER.glob("hull-*.csv"))}
    if digest in known and "dispersion" not in info:
        return known[digest]
    names = ", ".join(path.stem.removeprefix("hull-").rpartition("-")[0] for path in known.values())
    raise ConfigError(
        f"--hull default has energies of {names} as it comes with matkit and nothing added to it, "
        f"not of {info.get('model', info['calculator'])} as it is asked for. Give files of "
        "crystals or a table of energies by the same potential: --hull FILES."
    )
