"""Compositions that are written, and those that are drawn."""

from collections import Counter

import numpy as np
import pytest

from matkit.crystals.generation.compositions import (
    draw_composition,
    draw_system,
    multiplied,
    parse_elements,
    parse_range,
)
from matkit.crystals.validity import composition_validity
from matkit.errors import ConfigError, UnknownNameError
from matkit.formulas import Composition, parse_formula

LI, OX, NA, CL, FE = 3, 8, 11, 17, 26


def anything(composition: Composition) -> bool:
    return True


def test_several_formula_units() -> None:
    assert multiplied(parse_formula("Li2O"), 3) == ((LI, 6), (OX, 3))


def test_unknown_symbols_are_named() -> None:
    with pytest.raises(UnknownNameError, match="Zz"):
        parse_elements("Li-Zz")


def test_elements_are_separated_by_dashes_or_commas() -> None:
    assert parse_elements("Li-O") == parse_elements("Li, O") == (LI, OX)
    with pytest.raises(ConfigError, match="different elements"):
        parse_elements("Li-O-Li")


def test_ranges_hold_both_ends() -> None:
    assert list(parse_range("8", "atoms")) == [8]
    assert list(parse_range("2-4", "atoms")) == [2, 3, 4]
    for text in ("0", "4-2", "a", "1-", "-3", ""):
        with pytest.raises(ConfigError, match="Expected atoms"):
            parse_range(text, "atoms")


def test_drawn_compositions_hold_all_elements_and_are_balanced() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_composition((LI, FE, OX), range(3, 13), rng, anything) for _ in range(30)]
    for composition in drawn:
        assert {z for z, _ in composition} == {LI, FE, OX}
        atoms = [z for z, count in composition for _ in range(count)]
        assert 3 <= len(atoms) <= 12
        assert composition_validity(atoms)
    assert len(set(drawn)) > 5


def test_every_size_of_an_element_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    sizes = Counter(draw_composition((FE,), (1, 2, 3), rng, anything)[0][1] for _ in range(60))
    assert set(sizes) == {1, 2, 3}


def test_an_impossible_system_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"Na-Cl with 3 to 3 atoms.*other numbers"):
        draw_composition((NA, CL), [3], rng, anything)
    with pytest.raises(ConfigError, match="no composition"):
        draw_composition((NA, CL), [1], rng, anything)


def test_what_does_not_fit_is_not_drawn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        found = draw_composition((LI, OX), range(2, 13), rng, lambda c: c[0][1] == 4)
        assert found[0] == (LI, 4)


def test_systems_have_two_to_four_different_elements() -> None:
    rng = np.random.default_rng(0)
    systems = [draw_system((LI, OX, NA, CL, FE), rng) for _ in range(100)]
    assert {len(system) for system in systems} == {2, 3, 4}
    assert all(len(set(system)) == len(system) for system in systems)
    assert draw_system((FE,), rng) == (FE,)
