"""``matkit screen`` on the command line."""

import json

import pytest
from ase.io import write

from tests.screen.conftest import candidates, crystals, emt

__all__ = ["crystals", "emt"]
QUICK = ["--min-length", "5", "--fmax", "0.05"]


def test_the_best_are_shown_and_failures_are_told(cli, crystals):
    words = ["screen", *crystals, "--hull", "hull.csv", "--steps", "relax,dedupe,hull", *QUICK]
    done = cli(*words, code=1)
    lines = done.stdout.splitlines()
    assert " ".join(lines[0].split()) == (
        "rank candidate formula energy per atom above hull verdict"
    )
    assert lines[1].split()[:3] == ["1", "2", "Au"]
    assert lines[4] == "6 candidates: 2 stable, 1 metastable, 1 duplicate, 2 failed"
    assert "failed: crystals.extxyz[4]: NotImplementedError: No EMT-potential for U" in done.stderr
    assert json.loads(cli(*words, "--json", code=1).stdout)["counts"]["stable"] == 2


def test_the_exit_code_is_zero_if_nothing_failed(cli, emt):
    write("two.extxyz", candidates()[:2])
    done = cli("screen", "two.extxyz", "--steps", "relax,dedupe", *QUICK)
    assert "2 candidates: 1 passed, 1 duplicate" in done.stdout
    assert (emt / "screening" / "config.yaml").is_file()
    cli("screen", "--config", emt / "screening" / "config.yaml")  # the same again


@pytest.mark.slow
def test_a_thousand_candidates_with_broken_ones_cost_only_these(cli, emt):
    good, _, _, _, unknown, broken = candidates()
    frames = [(unknown, broken)[i % 2] if i % 20 == 0 else good for i in range(1000)]
    write("many.extxyz", frames)
    done = cli("screen", "many.extxyz", "--steps", "relax", "--fmax", "0.05", code=1)
    assert "1000 candidates: 950 passed, 50 failed" in done.stdout


def test_an_order_that_cannot_be_is_one_message(cli, crystals):
    message = cli("screen", *crystals, "--steps", "elastic,relax", code=2).stderr
    assert "elastic needs relax before it" in message


def test_the_template_names_the_steps(cli):
    text = cli("template", "screen").stdout
    assert "- relax\n- dedupe\n- hull\n- phonons\n- elastic" in text
    assert "max_above_hull: 0.1" in text
