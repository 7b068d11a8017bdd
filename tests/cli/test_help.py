"""The help: short, grouped, with an example of every command that works as written."""

import shlex
from typing import ClassVar

import pytest
from typer.main import get_command

from matkit.cli.app import PANEL, app
from matkit.cli.display import first_line
from matkit.options import Options, Panel, panel_of
from tests.cli.test_defaults import EVERY


def commands(group, *words):
    """Every command below a group that is shown, with its words."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            yield (*words, name), command


COMMANDS = dict(commands(get_command(app)))


def test_the_help_fits_a_screen(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = cli("--help").stdout.splitlines()
    assert len(lines) <= 52
    assert all(len(line) <= 100 for line in lines)
    text = "\n".join(lines)
    places = [text.index(f"─ {panel} ─") for panel in dict.fromkeys(PANEL.values())]
    assert places == sorted(places)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_that_can_be_given(words):
    command = COMMANDS[words]
    if words in (("doctor",), ("models", "list")):  # there is nothing to say
        return
    start = f"Example: matkit {' '.join(words)} "
    assert command.epilog.startswith(start)
    command.make_context(words[-1], shlex.split(command.epilog.removeprefix(start)))


@pytest.mark.parametrize("name", EVERY)
def test_panels_hold_options_that_exist(name):
    model = EVERY[name]
    assert {panel_of(model, field) for field in model.model_fields} <= set(Panel)
    for cls in model.__mro__:
        for names in vars(cls).get("panels", {}).values():
            assert set(names) <= cls.model_fields.keys(), cls


def test_basic_options_come_before_advanced_ones(cli):
    text = cli("relax", "--help").stdout
    places = [text.index(word) for word in ("--fmax", "─ Run", "--device", "─ Advanced", "--smax")]
    assert places == sorted(places)
    assert text.index("─ General") > places[-1]


def test_a_class_moves_the_options_that_it_introduces():
    class Shared(Options):
        panel: ClassVar = Panel.FILES
        a: int = 0
        b: int = 0

    class Own(Shared):
        panels: ClassVar = {Panel.ADVANCED: ("b",)}
        a: int = 1
        c: int = 0

    panels = [panel_of(Own, name) for name in ("a", "b", "c")]
    assert panels == [Panel.FILES, Panel.ADVANCED, Panel.MAIN]


def test_the_first_line_of_a_run_is_short():
    assert first_line("m", "float64", "cpu", "out") == "m, float64 on cpu; results in out"
    long = "/a" * 60 + "/runs/silicon/model.safetensors"
    assert first_line(long, "float64", "cpu", "out").startswith(".../silicon/model.safetensors, ")
    assert len(first_line(long, "float64", "cuda:1", "results/relaxed")) < 100
    assert first_line("x" * 50, "float64", "cpu", "out").startswith("x" * 50)
