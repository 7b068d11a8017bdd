"""Files of options are data: whatever is in them, nothing but the command is run."""

import importlib.metadata
import os
from pathlib import Path

import pytest

from matkit.cli.yaml_files import merge
from matkit.errors import ConfigError
from matkit.label.calculator_engine import refuse_function
from matkit.label.options import LabellingOptions


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:run",
        "builtins:exec",
        "ase.build:bulk",
        "ase.calculators.emt:Nothing",
        "tests.label.calculators:Quadratic",  # beside the file, not installed
        "antigravity:fly",
        "nothing_there:Calculator",
    ],
)
@pytest.mark.parametrize("option", ["calculator", "agree"])
def test_a_file_names_no_function_as_calculator(tmp_path, name, option):
    path = tmp_path / "label.yaml"
    path.write_text(f"{option}: {name}\n" + "max_difference: 1.0\n" * (option == "agree"))
    with pytest.raises(ConfigError, match="could run anything"):
        merge(LabellingOptions, str(path), {})


def test_who_runs_the_command_may_name_any(tmp_path):
    path = tmp_path / "label.yaml"
    path.write_text("calculator: os:system\n")
    name = "tests.label.calculators:Quadratic"
    assert merge(LabellingOptions, str(path), {"calculator": name}).calculator == name


def test_a_file_names_calculators_of_installed_packages(tmp_path):
    path = tmp_path / "label.yaml"
    path.write_text("calculator: ase.calculators.emt:EMT\n")
    assert merge(LabellingOptions, str(path), {}).calculator == "ase.calculators.emt:EMT"


def test_a_file_names_entry_points(monkeypatch):
    def points(group, name):
        assert group == "matkit.calculators"
        value = "some.module:function"
        known = [importlib.metadata.EntryPoint("ours", value, group)] if name == "ours" else []
        return importlib.metadata.EntryPoints(known)

    monkeypatch.setattr(importlib.metadata, "entry_points", points)
    refuse_function("ours")
    with pytest.raises(ConfigError, match="could run anything"):
        refuse_function("some.module:function")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fmax: 0.1\nfmax: 0.2", "fmax stands in it twice"),
        ("fmax: 0.1\nfmax: {a: 1", "Cannot read the configuration"),
        ("fmax: " + "[" * 100 + "]" * 100, "nested more than"),
        ("fmax: &a [*a]", "aliases"),
        ("fmax: .nan", "fmax"),
        ("steps: 1:30", "steps"),
        ("- a list", "name: value"),
        ("1: 2", "Unknown option '1'"),
        ("fmax: 0.1\x00", "Cannot read the configuration"),
    ],
)
def test_a_damaged_file_of_options_is_one_message(cli, copper, text, message):
    (cli.folder / "c.yaml").write_text(text)
    result = cli("relax", copper, "-c", "c.yaml", code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_octal_looking_numbers_are_decimal(cli, copper):
    (cli.folder / "c.yaml").write_text("steps: 010\nfmax: 1e-9\n")
    cli("relax", copper, "-c", "c.yaml", code=1)
    assert cli.summary("cu")["structures"][0]["steps"] == 10


def test_devices_and_pipes_are_no_files_of_options(cli, copper):
    os.mkfifo(cli.folder / "pipe")
    for name in ("/dev/zero", "pipe", "."):
        assert "not a file" in cli("relax", copper, "-c", name, code=2).stderr
    assert "No such file" in cli("relax", copper, "-c", "nothing.yaml", code=2).stderr


def test_no_file_of_options_runs_the_configuration_of_workers(cli, copper):
    Path("options.yaml").write_text("executor: parsl:workers.py\n")
    words = ["label", copper, "labels", "--config", "options.yaml"]
    assert "Say it on the command line: --executor parsl:workers.py" in cli(*words, code=2).stderr
    words += ["--executor", "local", "--calculator", "ase.calculators.emt:EMT"]
    cli(*words)


@pytest.mark.parametrize(
    "words",
    [["label", "cu.xyz", "out"], ["generate", "crystal", "out", "--relax", "default"]],
    ids=" ".join,
)
def test_an_executor_that_cannot_be_had_is_told_before_anything_is_computed(cli, copper, words):
    message = cli(*words, "--executor", "parsl:nowhere.py", code=2).stderr
    assert "found no nowhere.py" in message
    assert not Path("out").exists()
