"""Chemical formulas as chemists write them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from math import gcd, lcm
from typing import Final

from matkit.elements import ATOMIC_NUMBERS, SYMBOLS, atomic_number
from matkit.errors import ConfigError

# Pairs of atomic number and count, in the order of the formula.
Composition = tuple[tuple[int, int], ...]
Counts = dict[int, Fraction]

BRACKETS: Final = {"(": ")", "[": "]", "{": "}"}
SUBSCRIPTS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
# Charges: as superscripts, behind ^, of single atoms (Fe3+, O2-), and Roman numerals in brackets.
# Not the hyphen of Li-O, which is a chemical system.
CHARGE: Final = re.compile(
    r"[⁰¹²³⁴⁵⁶⁷⁸⁹]*[⁺⁻]|\^\{?\d*[+-]\d*\}?|(?<=[A-Za-z])(?:\d+[+-]|\+|-(?![A-Z]))"
    r"|\((?:II|III|IV|VI|VII|VIII)\)|\((?:I|V)\)(?!\d)"
)
# What is apart from the rest, such as water of crystallisation.
PARTS: Final = re.compile(r"[·•∙⋅*]|\.(?=\d*H2O(?:$|[·•∙⋅*.]))")
TOKEN: Final = re.compile(r"([A-Z][a-z]?)|([(\[{])|([)\]}])|(\d+(?:\.\d+)?|\.\d+)")
# What may be a formula in letters of one case; ways to read longer ones are too many.
SHORT: Final = re.compile(r"[a-z\d]{1,12}")
# Isotopes of hydrogen, which have symbols of their own.
ISOTOPES: Final = ("D", "T")
# A denominator beyond this is no fraction that somebody means; 0.67 is two thirds.
MOST: Final = 12
CLOSE: Final = Fraction(1, 200)

log = logging.getLogger(__name__)


def parse_formula(text: str) -> Composition:
    """Return pairs of atomic number and count, in the order of the formula.

    Brackets, hydrates (``CuSO4·5H2O``) and subscripts are understood; charges and oxidation states
    are left out, which is told.

    Raises:
        ConfigError: the text is no formula of whole numbers of atoms.
        UnknownNameError: a symbol is not one.
    """
    plain = "".join(text.translate(SUBSCRIPTS).split())
    bare = CHARGE.sub("", plain)
    total: Counts = {}
    for part in PARTS.split(bare):
        units, formula = re.fullmatch(r"(\d*)(.*)", part).groups()  # type: ignore[union-attr]
        _add(total, _counts(formula, text), Fraction(int(units or 1)))
    if bare != plain:
        log.warning("Charges and oxidation states of %s are left out: taking %s", text, bare)
    if 0 in total.values():
        raise ConfigError(f"Expected at least one atom of every element, got {text!r}.")
    if any(count.denominator > 1 for count in total.values()):
        raise ConfigError(_fractional(text, total))
    return tuple((number, int(count)) for number, count in total.items())


def formula_text(composition: Composition) -> str:
    """Return a composition as a formula."""
    return "".join(f"{SYMBOLS[z]}{'' if count == 1 else count}" for z, count in composition)


def _counts(formula: str, text: str) -> Counts:
    """Return the atoms of a formula without charges."""
    stack: list[tuple[Counts, str]] = [({}, "")]
    place = 0
    while place < len(formula):
        found = TOKEN.match(formula, place)
        if found is None:
            raise ConfigError(_no_formula(text))
        symbol, opened, closed, _ = found.groups()
        place = found.end()
        if opened:
            stack.append(({}, BRACKETS[opened]))
            continue
        if closed:
            inside, expected = stack.pop()
            if closed != expected or not inside:
                raise ConfigError(_no_formula(text))
        elif symbol:
            inside = {_number(symbol): Fraction(1)}
        else:  # a number that follows nothing
            raise ConfigError(_no_formula(text))
        times = TOKEN.match(formula, place)
        if times is not None and times[4]:
            place = times.end()
        _add(stack[-1][0], inside, Fraction(times[4]) if times and times[4] else Fraction(1))
    if len(stack) > 1 or not stack[0][0]:
        raise ConfigError(_no_formula(text))
    return stack[0][0]


def _number(symbol: str) -> int:
    if symbol in ISOTOPES:
        raise ConfigError(f"{symbol} is an isotope of hydrogen, which models do not tell; write H.")
    return atomic_number(symbol)


def _add(total: Counts, more: Counts, times: Fraction) -> None:
    for number, count in more.items():
        total[number] = total.get(number, Fraction(0)) + times * count


def _fractional(text: str, total: Counts) -> str:
    """Return what to do with a formula of parts of atoms."""
    advice = "Write how many atoms of each there are in the cell."
    near = {z: count.limit_denominator(MOST) for z, count in total.items()}
    if all(abs(near[z] - count) <= CLOSE for z, count in total.items()):
        times = lcm(*(count.denominator for count in near.values()))
        whole = {z: int(times * count) for z, count in near.items()}
        common = gcd(*whole.values())
        cell = tuple((z, count // common) for z, count in whole.items())
        advice = f"An ordered cell of that composition is {formula_text(cell)}, or a multiple."
    return f"Expected whole numbers of atoms, got {text!r}. {advice}"


def _no_formula(text: str) -> str:
    """Return what is wrong with a text, and what may be meant by it."""
    said = f"Expected a formula such as Na4Cl4, Ca(OH)2 or CuSO4·5H2O, got {text!r}."
    meant = list(_capitalised(text)) if SHORT.fullmatch(text) else []
    likely = sorted(meant, key=len)[:3]
    return f"{said} Did you mean {' or '.join(likely)}?" if likely else said


def _capitalised(text: str) -> Iterator[str]:
    """Give the ways to read letters of one case as a formula, the fewest symbols first."""
    if not text:
        yield ""
        return
    for length in (2, 1):
        symbol = text[:length].capitalize()
        if symbol in ATOMIC_NUMBERS and symbol != "X" and len(text) >= length:
            digits = re.match(r"\d*", text[length:])
            count = digits[0] if digits else ""
            for rest in _capitalised(text[length + len(count) :]):
                yield symbol + count + rest
