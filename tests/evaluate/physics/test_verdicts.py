import json
import math

import pytest

from matkit.evaluate.physics.verdicts import Measure, PhysicsCheck, table_of, tally
from matkit.report.json_files import json_bytes, plain


@pytest.mark.parametrize(
    ("measure", "passes", "text"),
    [
        (Measure("drift", 0.31, "meV", -2.0, 2.0), True, "drift 0.31 meV (-2 to 2)"),
        (Measure("drift", -2.5, "meV", -2.0, 2.0), False, "drift -2.5 meV (-2 to 2)"),
        (Measure("minima", 2, low=1, high=1), False, "minima 2 (= 1)"),
        (Measure("jump", 0.00011, "eV", high=1.0), True, "jump 0.00011 eV (≤ 1)"),
        (Measure("modulus", 0.0, "GPa", low=0.0), True, "modulus 0 GPa (≥ 0)"),
        (Measure("modulus", math.nan, "GPa", low=0.0), False, "modulus nan GPa (≥ 0)"),
    ],
)
def test_a_number_is_judged_by_its_bounds(measure, passes, text):
    assert measure.passes is passes
    assert str(measure) == text


GOOD, BAD = Measure("a", 1.0, high=2.0), Measure("b", 3.0, high=2.0)


@pytest.mark.parametrize(
    ("check", "verdict", "reason"),
    [
        (PhysicsCheck("k", "s", [GOOD]), "pass", "a 1 (≤ 2)"),
        (PhysicsCheck("k", "s", [GOOD, BAD]), "fail", "b 3 (≤ 2)"),
        (PhysicsCheck("k", "s", failure="broken"), "fail", "broken"),
        (PhysicsCheck("k", "s", skipped="no phonopy"), "skipped", "no phonopy"),
    ],
)
def test_a_check_says_what_decided(check, verdict, reason):
    assert (check.verdict, check.reason()) == (verdict, reason)
    assert table_of([check])[1] == ["k", "s", verdict, reason]
    assert tally([check, check])[verdict] == 2


def test_the_document_has_number_and_bound():
    read = json.loads(json_bytes(plain(PhysicsCheck("k", "s", [BAD], {"curve": [1.0]}).document())))
    (measure,) = read["measures"]
    assert (measure["value"], measure["high"], measure["low"]) == (3.0, 2.0, None)
    assert measure["passes"] is False
    assert (read["verdict"], read["curve"]) == ("fail", [1.0])
