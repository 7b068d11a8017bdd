import importlib.util
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import matkit
from matkit.derivatives import Conservative
from matkit.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    UnknownElementError,
    UnknownNameError,
)
from matkit.models import cards, checkpoint, published, zoo
from matkit.models.foreign import sevennet
from matkit.models.safe_unpickle import Opaque, read_torch_zip
from matkit.testing.systems import crystal
from tests.potentials.test_nequip import TINY

needs_sevenn = pytest.mark.skipif(
    importlib.util.find_spec("sevenn") is None, reason="the package sevenn carries the weights"
)


@pytest.fixture
def files(tmp_path):
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = checkpoint.build("nequip", TINY)
        paths.append(checkpoint.save(network, tmp_path / f"seed-{seed}.safetensors"))
    return paths


def without_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_a_file_loads_with_forces_and_stress(files):
    model = matkit.load(files[0])
    assert isinstance(model, Conservative)
    assert {"energy", "forces", "stress"} <= model.provides


def test_a_pattern_or_list_makes_a_committee(files):
    pattern = str(files[0].parent / "seed-*.safetensors")
    commas = f"{files[0]}, {files[1]}"
    for given in (pattern, files, commas, [str(files[0]), files[1]]):
        calc = matkit.load_calculator(given, device="cpu")
        assert len(calc.potentials) == 2
    atoms = crystal()
    atoms.calc = calc
    assert np.isfinite(atoms.get_potential_energy())
    assert calc.results["forces_std"].shape == (8, 3)
    assert calc.info["sha256"].count(",") == 1


def test_the_default_may_be_asked_for_by_that_name():
    assert zoo.load_calculator("default", "cpu").info["model"] == "nequip-universal"


def test_a_calculator_of_no_model_is_refused():
    with pytest.raises(ConfigError, match="at least one model"):
        zoo.load_calculator([])


def test_a_pattern_without_files(tmp_path):
    with pytest.raises(UnknownNameError, match="No model file fits"):
        matkit.load_calculator(str(tmp_path / "*.safetensors"))


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'sevennet-0'.*sevennet-l3i5"):
        matkit.load("sevenet-0")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(CheckpointError, match="No model file at"):
        matkit.load(tmp_path / "model.safetensors")


def test_missing_weights_package_gives_the_pip_command(monkeypatch):
    without_package(monkeypatch)
    with pytest.raises(MissingExtraError, match='pip install "sevenn>=0.13"'):
        matkit.load("sevennet-0")
    assert not cards.models()["sevennet-0"].available
    card = cards.model_card("sevennet-0")
    assert card.parameters is None
    assert "MIT" in card.licence


def test_card_of_a_file(files):
    card = cards.model_card(files[0])
    assert card.architecture == "nequip"
    assert card.elements == "H, O, Na, Cl"
    assert card.licence == cards.NOT_STATED


@needs_sevenn
def test_cards_of_published_models():
    potentials = {name for name, card in cards.models().items() if card.kind == "potential"}
    ours = {"facet-organic", "facet-universal", "hip-gfn2-chno", "nequip-universal"}
    assert potentials == {"sevennet-0", "sevennet-l3i5"} | ours
    card = cards.model_card("sevennet-0")
    assert card.parameters == 842_440
    assert card.elements.count(",") == 88
    assert card.cutoff == 5.0
    assert cards.model_card("sevennet-l3i5").parameters == 1_171_144


@needs_sevenn
def test_weights_are_converted_once_and_their_origin_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        matkit.load("sevennet-0")
    assert "package sevenn" in caplog.text
    assert "MIT" in caplog.text
    (path,) = (tmp_path / "models").iterdir()
    before = path.stat().st_mtime_ns
    caplog.clear()
    matkit.load("sevennet-0")
    assert path.stat().st_mtime_ns == before
    assert not caplog.text


@needs_sevenn
def test_converting_does_not_import_the_package(tmp_path):
    """Nothing of sevenn, nor its pickle, runs."""
    import subprocess
    import sys

    code = (
        "import os, sys; os.environ['MATKIT_CACHE'] = sys.argv[1]; import matkit; "
        "matkit.load('sevennet-0'); assert 'sevenn' not in sys.modules, 'imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def weights(name: str) -> Path:
    return published.weights_of(published.published()[name])


@needs_sevenn
def test_safe_reader_equals_torchs_loader():
    path = weights("sevennet-0")
    ours = read_torch_zip(path)
    theirs = torch.load(path, map_location="cpu", weights_only=False)
    assert ours["model_state_dict"].keys() == theirs["model_state_dict"].keys()
    for key, value in theirs["model_state_dict"].items():
        assert torch.equal(ours["model_state_dict"][key], value)
    assert np.array_equal(ours["config"]["shift"], theirs["config"]["shift"])
    assert isinstance(ours["config"]["device"], Opaque)


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_safe_reader_runs_nothing(tmp_path):
    path, mark = tmp_path / "bomb.pth", tmp_path / "exploded"
    torch.save({"bomb": Bomb(mark), "tensor": torch.ones(2)}, path)
    content = read_torch_zip(path)
    assert not mark.exists()
    assert isinstance(content["bomb"], Opaque)
    assert content["tensor"].tolist() == [1.0, 1.0]


def test_safe_reader_reads_views_parameters_and_types(tmp_path):
    path = tmp_path / "tensors.pth"
    original = {
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "double": torch.ones(2, dtype=torch.float64),
        "int": torch.tensor([1, 2]),
        "bool": torch.tensor([True]),
        "empty": torch.zeros(0),
        "scalar": np.float32(1.5),
        "array": np.arange(3.0),
    }
    torch.save(original, path)
    content = read_torch_zip(path)
    for key, value in original.items():
        plain = value.detach() if key == "parameter" else value
        assert np.array_equal(np.asarray(content[key]), plain)


def test_safe_reader_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        read_torch_zip(tmp_path / "nothing.pth")
    path = tmp_path / "broken.pth"
    path.write_bytes(b"not a zip file")
    with pytest.raises(CheckpointError, match="may be truncated"):
        read_torch_zip(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.garbage"[:3])
    with pytest.raises(CheckpointError, match="may be truncated"):
        read_torch_zip(path)


def save_config(path: Path, **changes) -> Path:
    config = dict(sevennet._EXPECTED, version="0.9.1") | changes
    torch.save({"config": config, "model_state_dict": {}}, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_parity": True}, "is_parity"),
        ({"use_modality": True}, "use_modality"),
        ({"version": "0.12.0"}, "before 0.11"),
        ({}, "is not a SevenNet checkpoint"),
    ],
)
def test_networks_that_cannot_be_reproduced_are_refused(tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        sevennet.convert(save_config(tmp_path / "other.pth", **changes))


@needs_sevenn
def test_the_two_modality_model_is_refused():
    path = weights("sevennet-0").parents[1] / "SevenNet_MF_0" / "checkpoint_sevennet_mf_0.pth"
    with pytest.raises(CheckpointError, match="use_modality"):
        sevennet.convert(path)


def test_a_committee_of_different_levels_is_warned_of(tmp_path, caplog):
    paths = []
    for name in ("PBE", "r2SCAN"):
        paths.append(tmp_path / f"{name}.safetensors")
        checkpoint.save(checkpoint.build("nequip", TINY), paths[-1], {"level": name * 20})
    zoo.load_calculator(paths[:1] * 2, "cpu")
    assert not caplog.records
    zoo.load_calculator(paths, "cpu")
    assert "different labels" in caplog.text
    assert "PBE.safetensors: PBEPBE" in caplog.text


def test_a_committee_knows_the_elements_that_all_members_know(tmp_path):
    paths = []
    for species in ((8, 11, 17), (11, 17, 26)):
        paths.append(tmp_path / f"{species[0]}.safetensors")
        checkpoint.save(checkpoint.build("nequip", TINY | {"species": species}), paths[-1])
    calc = zoo.load_calculator(paths, "cpu")
    assert calc.species == (11, 17)
    atoms = crystal()
    atoms.numbers[0] = 8
    atoms.calc = calc
    with pytest.raises(UnknownElementError):
        atoms.get_potential_energy()
