"""Chemical symbols, indexed by atomic number."""

from __future__ import annotations

from collections.abc import Iterable

from matkit.errors import UnknownNameError, did_you_mean

# Index 0 is the masked species of generators.
SYMBOLS = tuple(
    """
    X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As
    Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd
    Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am
    Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """.split()  # noqa: SIM905 a column of quoted symbols is harder to read
)
ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def atomic_number(symbol: str) -> int:
    """Return the atomic number of `symbol`.

    Raises:
        UnknownNameError: `symbol` is not a chemical symbol.
    """
    if symbol not in ATOMIC_NUMBERS:
        raise UnknownNameError(
            f"{symbol!r} is not a chemical symbol.{did_you_mean(symbol, SYMBOLS[1:])}"
        )
    return ATOMIC_NUMBERS[symbol]


def format_species(species: Iterable[int]) -> str:
    """Return the symbols of atomic numbers in increasing order, e.g. ``"H, O, Si"``."""
    return ", ".join(SYMBOLS[z] for z in sorted(set(species)))


def period_and_group(z: int) -> tuple[int, int]:
    """Return where an element stands in the periodic table; lanthanides and actinides in group 3.

    Args:
        z: Atomic number, at least 1.
    """
    ends = (2, 10, 18, 36, 54, 86, 118)
    period = next(number for number, end in enumerate(ends, start=1) if z <= end)
    place = z - (0, *ends)[period - 1]
    from_right = 18 - (ends[period - 1] - z)  # groups 4 and on are counted from there
    if place <= 2 and z != 2:
        return period, place
    return period, max(from_right, 3)
