"""The plug-in of examples/plugin, installed beside matkit, is used as matkit's own models are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

from tests import docs_pages
from tests.train.labelled import frames, labelled_file

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python where the plug-in is installed, and return what it prints."""
    folder = tmp_path_factory.mktemp("plugin")
    _install_pages(folder / "site")
    copy = folder / "source"
    subprocess.run(["cp", "-r", PLUGIN, copy], check=True)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", folder / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, copy], check=True)
    paths = os.pathsep.join([str(folder / "site"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}

    def run(*words: str, folder: Path = folder) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def _install_pages(site: Path) -> None:
    """Install the models that docs/extending.md shows, as another distribution."""
    package, info = site / "pages", site / "pages-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for block in docs_pages.blocks(text):
        if block.title is not None:
            (package / block.title).write_text(block.code, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pages\nVersion: 1\n")
    groups = {
        "potentials": ["shown_pairs = pages.pairs", "polar = pages.polar"],
        "generative": ["shown_boxes = pages.boxes"],
        "losses": ["net_force = pages.net_force"],
    }
    lines = [line for name, rows in groups.items() for line in (f"[matkit.{name}]", *rows)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for test, name in (("test_pairs.py", "pairs"), ("test_boxes.py", "boxes")):
        code = (package / test).read_text(encoding="utf-8")
        (package / test).write_text(code.replace(f'"{name}"', f'"shown_{name}"'), encoding="utf-8")


@pytest.fixture
def matkit(run, tmp_path):
    """Run a command of matkit in a folder."""
    return lambda *words: run("matkit", *map(str, words), folder=tmp_path)


def test_its_models_are_listed_with_the_package_they_come_from(matkit):
    listed = json.loads(matkit("models", "list", "--json"))
    assert listed["pairs"]["kind"] == "potential, untrained"
    assert listed["boxes"]["kind"] == "generator, untrained"
    card = json.loads(matkit("models", "info", "boxes", "--json"))
    assert card["source"] == "matkit-example"
    assert card["makes"] == "crystals (structures)"
    assert "matkit train --model pairs" in matkit("models", "info", "pairs")


def test_its_potential_is_trained_and_relaxes(matkit, tmp_path):
    labelled_file(tmp_path / "train.xyz", frames(20))
    write(tmp_path / "crystal.xyz", bulk("Cu", a=3.7))
    words = ("--train-file", "train.xyz", "--max-num-epochs", 3, "--name", "p", "--no-report")
    matkit("train", "--model", "pairs", *words)
    matkit("relax", "crystal.xyz", "--model", "results/p/model.safetensors", "--steps", 20)
    assert read(tmp_path / "results" / "crystal-relaxed.extxyz").get_potential_energy() < 10


@pytest.mark.slow
def test_its_generator_is_trained_and_generates(matkit, tmp_path):
    write(tmp_path / "train.xyz", [bulk("NaCl", "rocksalt", a=a) for a in (5.5, 5.6, 5.7)] * 4)
    words = ("--train-file", "train.xyz", "--max-num-epochs", 2, "--name", "b", "--no-report")
    matkit("train", "--model", "boxes", *words)
    words = ("--model", "results/b/model.safetensors", "--formula", "NaCl", "--num-samples", 3)
    matkit("generate", "crystal", *words)
    made = read(tmp_path / "generated" / "generated.extxyz", ":")
    assert len(made) == 3
    assert all(abs(atoms.get_volume() - 43.9) < 3 for atoms in made)


@pytest.mark.slow
def test_it_passes_the_contracts_and_so_do_the_models_of_the_page(run):
    words = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, str(PLUGIN / "tests"))
    assert "passed" in run("pytest", *words, "site/pages/test_pairs.py", "site/pages/test_boxes.py")


@pytest.mark.slow
def test_the_head_and_the_loss_of_the_page_are_trained(matkit, tmp_path):
    labelled_file(tmp_path / "train.xyz", frames(10))
    model = "{name: polar, backbone: {name: facet, irreps: [8x0e, 8x0e+4x1o, 8x0e], lmax: 1}}"
    words = ("--train-file", "train.xyz", "--max-num-epochs", 1, "--no-report", "--name", "p")
    matkit("train", "--model", model, "--extra-losses", "{net_force: 0.1}", *words)
    assert "train_net_force" in (tmp_path / "results" / "p" / "log.csv").read_text()
