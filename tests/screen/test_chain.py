"""Which steps there are, in which order they may come, and what is refused before the work."""

import sys
from functools import partial

import pytest
from ase.build import bulk
from ase.io import write

from matkit import screen
from matkit.errors import ConfigError, DataError, MissingExtraError, UnknownNameError
from matkit.options import build
from matkit.runs.items import ItemResult
from matkit.screen import chain
from matkit.screen.options import ScreenOptions
from tests.screen.conftest import quick


def names(**changes):
    return [step.name for step in chain.chain(quick(**changes))]


def test_all_steps_come_in_order_and_the_hull_if_there_are_references():
    assert names() == ["relax", "dedupe", "phonons", "elastic"]
    assert names(hull="a.csv") == ["relax", "dedupe", "hull", "phonons", "elastic"]


@pytest.mark.parametrize("text", ["relax,dedupe", ["relax", "dedupe"], ["relax, dedupe"]])
def test_steps_are_named_with_commas_or_as_a_list(text):
    assert names(steps=text) == ["relax", "dedupe"]


@pytest.mark.parametrize("step", ["hull", "phonons", "elastic"])
def test_what_needs_relaxed_crystals_does_not_come_before(step):
    with pytest.raises(ConfigError, match=f"{step} needs relax before it"):
        names(steps=[step, "relax"], hull="a.csv")


def test_an_unknown_step_is_answered_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'phonons'\? Known: dedupe, elastic"):
        names(steps="relax,phonon")


@pytest.mark.parametrize(("steps", "message"), [("relax,relax", "relax again"), ("", "none")])
def test_impossible_chains(steps, message):
    with pytest.raises(ConfigError, match=message):
        names(steps=steps)


def test_candidates_have_one_origin():
    with pytest.raises(ConfigError, match="one of them"):
        build(ScreenOptions, {"struct": "a.cif", "generate": 3})
    with pytest.raises(ConfigError, match="formula says what to generate; give generate"):
        build(ScreenOptions, {"struct": "a.cif", "formula": "NaCl"})


def test_without_candidates_nothing_is_done(emt):
    with pytest.raises(ConfigError, match="Expected candidates, got none"):
        screen(quick())
    with pytest.raises(DataError, match=r"there is no nowhere\.cif"):
        screen(quick(struct="nowhere.cif"))


def test_a_hull_without_references_is_refused(crystals):
    with pytest.raises(ConfigError, match="--hull FILES"):
        screen(quick(struct=crystals, steps="relax,hull"))


def test_a_hull_that_no_candidate_is_on_is_refused_before_the_work(emt):
    write("silver.extxyz", bulk("Ag"))
    (emt / "hull.csv").write_text("formula,energy_per_atom\nCu,0.0\nAgCu,0.1\n")
    with pytest.raises(ConfigError, match=r"No candidate can be placed.*lack pure Ag\."):
        screen(quick(struct="silver.extxyz", hull="hull.csv"))
    assert not (emt / "screening").exists()


def test_phonopy_is_asked_for_before_the_work(crystals, emt, monkeypatch):
    monkeypatch.setitem(sys.modules, "seekpath", None)
    with pytest.raises(MissingExtraError, match=r"matkit\[phonons\]"):
        screen(quick(struct=crystals, steps="relax,phonons"))
    assert not (emt / "screening").exists()


def heavy(limit, options, items):
    """A further step: rejects light crystals."""
    return [
        ItemResult(item, "done", (item.content,), facts={"mass": sum(item.content.get_masses())})
        if sum(item.content.get_masses()) > limit
        else ItemResult(item, "rejected", reason="too light")
        for item in items
    ]


STEP = chain.Step("heavy", partial(heavy, 100.0), ("mass",), verdict="light")


def test_a_further_step_is_a_module_and_a_line(crystals, monkeypatch):
    monkeypatch.setitem(chain.STEPS, "heavy", "tests.screen.test_chain")
    found = screen(quick(struct=crystals, steps="relax,heavy"))
    assert [row["formula"] for row in found.rows if row["rank"]] == ["Au"]
    assert found.rows[0]["mass"] == pytest.approx(196.97, abs=0.01)
    assert found.counts == {"passed": 1, "light": 3, "failed": 2}
