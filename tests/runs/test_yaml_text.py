import os

import pytest
import yaml

from matkit.runs.yaml_text import dump_yaml, load_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("{No: -1.5, Y: 2, ON: 3}", {"No": -1.5, "Y": 2, "ON": 3}),
        ("[0x1F, -2, .5, 1., +3]", [31, -2, 0.5, 1.0, 3]),
        ("[true, False, yes, ~, null, '']", [True, False, "yes", None, None, ""]),
        ("2020-01-01", "2020-01-01"),
        ("-.inf", float("-inf")),
        ("a: &x {k: 1}\nb: {<<: *x, l: 2}", {"a": {"k": 1}, "b": {"k": 1, "l": 2}}),
        ("a:\n", {"a": None}),
        ("", None),
    ],
)
def test_scalars_are_what_people_mean(text, value):
    assert load_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a stands in it twice"),
        ("x: {b: 1, b: 1}", "b stands in it twice"),
        ("1: x\n01: y", "1 stands in it twice"),
        ("[" * 50 + "]" * 50, "nested more than 20"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases of others"),
        ("&a [*a]", "aliases of others"),
        ("a: &a x\nb: [" + "*a, " * 200 + "]", "more than 100 aliases"),
        ("a: " + "9" * 6000, "cannot be read"),
        ("a: !!int x", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a" * 1_000_001, "more than 1,000,000"),
        ("? [a]\n: b", "unhashable"),
    ],
)
def test_what_no_settings_hold_is_refused_at_once(text, message):
    with pytest.raises(yaml.YAMLError, match=message):
        load_yaml(text)


@pytest.mark.parametrize("value", ["010", "1:30", "1e-3", "No", "yes", "~", "1_000", "x: y", ""])
def test_text_stays_text_in_files_of_settings(value):
    assert load_yaml(dump_yaml({"name": value})) == {"name": value}
    assert yaml.safe_load(dump_yaml({"name": value})) == {"name": value}


def test_devices_folders_and_large_files_are_no_settings(tmp_path):
    for path in ("/dev/zero", str(tmp_path)):
        with pytest.raises(OSError, match="not a file"):
            read_yaml(type(tmp_path)(path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file"):
        read_yaml(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(5_000_000)
    with pytest.raises(yaml.YAMLError, match="5,000,000 bytes"):
        read_yaml(tmp_path / "large")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfsteps: 3\n")
    assert read_yaml(tmp_path / "c.yaml") == {"steps": 3}
