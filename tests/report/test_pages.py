"""Pages as templates make them."""

import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from matkit.report.pages import TEMPLATES, render
from matkit.report.tables import number, percent, shown
from tests.report.sources import external_sources

GENERATED = {
    "title": "Generated <crystals>",
    "noun": "crystal",
    "files": ["a b.extxyz"],
    "counts": {"<b>": "<i>", "rate": 0.1 + 0.2, "nothing": None},
    "settings": {"relax": True, "Δ": [1, 2.00004]},
    "model": {"of": {"H": -13.5}},
    "versions": {},
}


def page(**changes):
    return render("generated", **{**GENERATED, "parts": [], **changes})


def test_text_is_escaped():
    assert "<b>" not in page()
    assert "<i>" not in page()
    assert "<crystals>" not in page()
    assert "&lt;b&gt;" in page()


def test_parts_that_are_html_already_are_taken_as_they_are():
    assert "<p>good</p>" in page(parts=[Markup("<p>good</p>")])
    assert "<p>bad</p>" not in page(parts=["<p>bad</p>"])
    assert isinstance(page(), Markup)


def test_numbers_are_rounded_and_values_are_words():
    for expected in (">0.3<", ">not set<", ">yes<", ">1, 2<", ">H: -13.5<"):
        assert expected in page()
    assert "0.30000000000000004" not in page()


def test_settings_are_folded_and_counts_are_not():
    folded = re.findall(r"<details><summary>(\w+)</summary>", page())
    assert folded == ["Settings", "Model", "Versions"]
    assert page().index("rate") < page().index("<details>")


def test_links_are_relative_and_may_have_spaces():
    assert '<a href="a%20b.extxyz">a b.extxyz</a>' in page()


def test_pages_fit_a_phone_and_the_dark():
    for expected in ('name="viewport"', "overflow-x: auto", "prefers-color-scheme: dark"):
        assert expected in page()
    assert page().count("<table>") == page().count('<div class="wide"><table>') > 0


def test_a_page_is_small_and_has_no_script_without_structures():
    assert len(page()) < 5000
    assert "<script" not in page()


def test_a_missing_value_is_an_error_and_no_empty_place():
    with pytest.raises(UndefinedError, match="noun"):
        render("generated", title="t")


def test_no_template_loads_anything():
    for path in TEMPLATES.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "http:" not in text, path
        assert "https:" not in text, path
        assert external_sources(text) == [], path


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.org/plotly.js"></script>',
        '<link rel="stylesheet" href="//fonts.org/a.css">',
        '<img alt="a" src="figure.png">',
        "<style>@import 'a.css';</style>",
        "<style>body { background: url(http://a.org/b.png) }</style>",
    ],
)
def test_what_would_be_fetched_is_found(text):
    assert len(external_sources(text)) == 1
    assert external_sources('<img src="data:image/png;base64,AAAA">') == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1234.5678, "1235"),
        (123456.0, "123456"),
        (1.23456e-7, "1.235e-07"),
        (3, "3"),
        (True, "yes"),
        (None, "-"),
        ([], "none"),
        ({}, "none"),
        ({"a": None, "b": 0.5}, "a: -, b: 0.5"),
    ],
)
def test_values_as_people_read_them(value, text):
    assert shown(value) == text


def test_shares_are_percentages():
    assert percent(2 / 3) == "66.67 %"
    assert number(2 / 3) == "0.6667"
