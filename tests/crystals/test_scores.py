"""Scores against their definitions by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from matkit.crystals.judging import Facts, judge
from matkit.crystals.matching import DEFAULT, PUBLISHED
from matkit.crystals.parallel import Pool
from matkit.crystals.scores import coverage, matches
from matkit.evaluate.scores import distribution, draw, fraction, halves
from tests.crystals import samples


def facts(fingerprints: tuple[np.ndarray, np.ndarray] | None) -> Facts:
    return Facts(True, True, None, fingerprints, fingerprints is not None)


def row(rows, gate: str, number: int):
    (found,) = (one for one in rows if one.gate == gate and one.samples == number)
    return found


def test_fraction():
    score = fraction("good", [True, False, True, True], "counted", [True, False])
    assert (score.value, score.of, score.reference) == (0.75, "3 of 4", 0.5)
    assert fraction("good", [], "counted").value is None


def test_match_rates_by_hand():
    # Two samples for each of three references.
    found = [0.4, 0.1, None, None, math.inf, 0.3]
    valid = [True, False, True, True, True, True]
    rows = matches(found, 2, PUBLISHED, valid, [True, True, False])
    one, both = row(rows, "off", 1), row(rows, "off", 2)
    assert (one.rate, one.rmse, one.undecided) == (pytest.approx(1 / 3), 0.4, 1)
    assert one.rmse_all == pytest.approx((0.4 + 0.5 + 0.5) / 3)
    assert (both.rate, both.rmse) == (pytest.approx(2 / 3), pytest.approx(0.2))
    # The better sample of the first is invalid.
    gated = row(rows, "prediction", 2)
    assert (gated.rate, gated.rmse) == (pytest.approx(2 / 3), pytest.approx(0.35))
    # The third reference is not valid.
    strict = row(rows, "both", 2)
    assert (strict.rate, strict.rmse) == (pytest.approx(1 / 3), pytest.approx(0.4))
    assert strict.ceiling == pytest.approx(2 / 3)
    assert {one.gate: one.ceiling for one in rows}["off"] == 1
    assert len(rows) == 6


def test_no_match_has_no_error():
    rows = matches([None, None], 1, DEFAULT, [True, True], [True, True])
    assert [one.samples for one in rows] == [1, 1, 1]
    assert row(rows, "off", 1).rmse is None
    assert row(rows, "off", 1).rmse_all == DEFAULT.stol


def test_distribution():
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(1, 1, 50).tolist(), rng.normal(0, 1, 60).tolist()
    score = distribution("W", mine, theirs, "made", rng)
    assert score.value == pytest.approx(wasserstein_distance(mine, theirs))
    assert 0 < score.reference < score.value
    same = distribution("W", theirs, theirs, "made", rng)
    assert same.value == 0
    assert distribution("W", [], theirs, "made", rng).value is None


def test_halves_and_draws():
    rng = np.random.default_rng(0)
    one, other = halves(range(9), rng)
    assert sorted([*one, *other]) == list(range(9))
    assert abs(len(one) - len(other)) == 1
    flags = [i % 2 == 0 for i in range(20)]
    assert draw(flags, 100, rng) == list(range(0, 20, 2))
    few = draw(flags, 4, rng)
    assert len(set(few)) == 4
    assert all(flags[i] for i in few)


def test_coverage_as_defined():
    rng = np.random.default_rng(1)
    mine = [(rng.normal(0, 4, 5), rng.normal(0, 0.2, 4)) for _ in range(7)]
    theirs = [(rng.normal(0, 4, 5), rng.normal(0, 0.2, 4)) for _ in range(9)]
    generated = [*map(facts, mine), facts(None)]
    scores = coverage(generated, [facts(one) for one in theirs], "mp-20", rng)
    found = {score.name: score.value for score in scores}

    def near(one, others, i):
        return min(np.linalg.norm(one[i] - other[i]) for other in others)

    def covered(one, others):
        return near(one, others, 1) <= 0.4 and near(one, others, 0) <= 10

    recall = [covered(one, mine) for one in theirs]
    assert found["COV-R"] == pytest.approx(np.mean(recall))
    assert 0 < found["COV-R"] < 1
    # The one without fingerprints counts as not covered.
    assert found["COV-P"] == pytest.approx(sum(covered(one, theirs) for one in mine) / 8)
    pairs = {"AMSD": 1, "AMCD": 0}
    for (name, i), (side, sets) in itertools.product(
        pairs.items(), {"R": (theirs, mine), "P": (mine, theirs)}.items()
    ):
        mean = np.mean([near(one, sets[1], i) for one in sets[0]])
        assert found[f"{name}-{side}"] == pytest.approx(mean)


def test_a_set_covers_itself():
    made = [samples.salt(), samples.perovskite(), samples.caesium_chloride(), samples.wurtzite()]
    found = judge([samples.entry(s) for s in made], Pool(60.0), fingerprints=True)
    scores = coverage(found, found, "perov-5", np.random.default_rng(0))
    values = {score.name: score.value for score in scores}
    assert values["COV-R"] == values["COV-P"] == 1
    assert values["AMSD-R"] == values["AMCD-P"] == 0


def test_nothing_to_cover_with():
    none = [facts(None)]
    assert coverage(none, none, "mp-20", np.random.default_rng(0))[0].value is None
