import importlib
import json
import pkgutil

import pytest

import matkit
from matkit.options.base import Options
from matkit.runs.settings import changed_settings


def option_classes(base=Options):
    """Give the classes of options of all modules that have some."""
    for module in pkgutil.walk_packages(matkit.__path__, "matkit."):
        if module.name.rpartition(".")[2].endswith(("options", "configs")):
            importlib.import_module(module.name)
    found = [base]
    for one in found:
        found += one.__subclasses__()
    return {one for one in found if one.__module__.startswith("matkit.")}


def test_settings_are_told_apart():
    old, new = {"lr": 0.1, "steps": 3}, {"lr": 0.2, "steps": 3}
    assert changed_settings(old, new) == "lr = 0.1 then, 0.2 now"
    assert not changed_settings(old, new, {"lr"})
    assert changed_settings({"gone": 1}, {}, defaults={"gone": 1}) == "gone = 1 then, None now"


@pytest.mark.parametrize(("now", "text"), [(True, ""), (False, "forces = True then, False now")])
def test_an_option_that_is_new_had_its_default(now, text):
    assert changed_settings({"lr": 1}, {"lr": 1, "forces": now}, defaults={"forces": True}) == text


def test_defaults_are_the_same_after_json():
    classes = option_classes()
    assert len(classes) > 40
    for one in classes:
        assert json.loads(json.dumps(one.defaults())) == one.defaults(), one
