"""What a user gets from the wheel is what the repository holds."""

import importlib.metadata
import importlib.resources
import tomllib
from pathlib import Path

import pytest

import matkit
from tests.test_layers import MODELS, ROOT, imports, module_name, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_the_version_has_one_source():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "matkit.__version__"}
    # A literal, or setuptools would have to import matkit, and torch with it.
    assert f'\n__version__ = "{matkit.__version__}"\n' in (ROOT / "matkit/__init__.py").read_text()


def test_the_installed_version_is_this_one():
    # Fails after a version bump until `pip install -e .` has run again.
    assert importlib.metadata.version("matkit") == matkit.__version__


def test_every_package_is_in_the_wheel():
    found = {module_name(p) for p in sources("matkit", *MODELS) if p.name == "__init__.py"}
    listed = set(SETUPTOOLS["packages"])
    assert found | {"matkit.configs"} == listed, "correct `packages` in pyproject.toml"


@pytest.mark.parametrize("folder", ["configs", *MODELS])
def test_the_folder_is_reached_through_matkit(folder):
    assert SETUPTOOLS["package-dir"][f"matkit.{folder}"] == folder
    assert (Path(matkit.__file__).parent / folder).is_dir()


def test_configs_are_package_data():
    installed = importlib.resources.files("matkit") / "configs"
    for path in (ROOT / "configs").rglob("*.yaml"):
        text = installed.joinpath(*path.relative_to(ROOT / "configs").parts).read_text("utf-8")
        assert text == path.read_text("utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_short_names_are_banned(name):
    # `import potentials` from the root would give a second copy of every class.
    assert name in PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    for path in sources("matkit", *MODELS, "tests", "benchmarks"):
        package = module_name(path.parent / "__init__.py")
        used = imports((ROOT / path).read_text(encoding="utf-8"), package)
        assert name not in {target.split(".")[0] for target in used}, f"{path}: matkit.{name}"
