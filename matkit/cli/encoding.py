"""Text for terminals and files that know fewer letters than Unicode has."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from io import TextIOWrapper

# Signs of units and mathematics, for those who cannot show them.
SPELLED = {
    "→": "->",
    "←": "<-",
    "\N{MULTIPLICATION SIGN}": "x",
    "·": "*",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "…": "...",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "²": "^2",
    "³": "^3",
    "⁻": "^-",
    "µ": "u",
    "\N{GREEK SMALL LETTER SIGMA}": "sigma",
    "ε": "epsilon",
    "°": " deg",
}


def spell_out() -> None:
    """Print signs that stdout and stderr cannot encode in other letters, such as A for Å."""
    codecs.register_error("matkit.spell_out", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="matkit.spell_out")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(map(_other_letters, signs)), error.end


def _other_letters(sign: str) -> str:
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return SPELLED.get(sign, plain) or "?"
