"""Attempts and the crystals that they are attempts at."""

from dataclasses import replace

import pytest

from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.pairing import Pairing, pair
from matkit.errors import DataError
from tests.crystals import samples

REFERENCE = [samples.entry(s) for s in (samples.salt(), samples.perovskite(), samples.wurtzite())]


def attempts(*made):
    """Crystals made like those of the reference: their number, the attempt, the structure."""
    return [
        replace(samples.entry(structure, f"made[{i}]"), attempt=(target, attempt))
        for i, (target, attempt, structure) in enumerate(made)
    ]


def test_attempts_are_paired_in_any_order_and_number():
    made = attempts(
        (2, 1, samples.wurtzite()), (0, 0, samples.salt()), (0, 1, samples.caesium_chloride())
    )
    made[2] = replace(made[2], numbers=made[1].numbers)
    assert pair(made, REFERENCE, None) == Pairing(2, [1, 2, None, None, None, 0])
    assert pair(made, REFERENCE, 1) == Pairing(1, [1, None, None])
    with pytest.raises(DataError, match="Expected 3 attempts at each crystal, got 2"):
        pair(made, REFERENCE, 3)


def test_others_are_paired_by_their_order():
    made = [samples.entry(samples.salt())] * 6
    assert pair(made, REFERENCE, 2) == Pairing(2, range(6))
    assert pair(made, REFERENCE, None) is None
    with pytest.raises(DataError, match="Expected 1 crystals for each of the 3"):
        pair(made, REFERENCE, 1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([(3, 0, samples.salt())], "only 3 in the reference"),
        ([(1, 0, samples.salt())], "has not the atoms of"),
        ([(0, 0, samples.salt()), (0, 0, samples.salt())], "both attempt 0 at crystal 0"),
    ],
)
def test_attempts_at_other_crystals_are_refused(made, message):
    with pytest.raises(DataError, match=message):
        pair(attempts(*made), REFERENCE, 1)
    notes = []
    sets = {"generated": attempts(*made), "reference": REFERENCE}
    found = evaluate_crystals(sets, CrystalsOptions(), note=notes.append)
    assert not found.matches, "nobody asked for match rates"
    assert any(message in note for note in notes)


def test_match_rates_count_missing_attempts_as_unmatched():
    made = attempts((2, 0, samples.wurtzite()), (0, 0, samples.salt()))
    found = evaluate_crystals({"generated": made, "reference": REFERENCE}, CrystalsOptions())
    rates = {(m.tolerances.name, m.gate): m.rate for m in found.matches}
    assert list(rates.values()) == pytest.approx([2 / 3] * 6)
