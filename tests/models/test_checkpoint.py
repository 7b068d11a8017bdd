import json
import pickle

import pytest
import safetensors.torch
import torch

from matkit.derivatives import Conservative
from matkit.errors import CheckpointError, ConfigError, UnknownNameError
from matkit.interfaces import Potential
from matkit.models import building, checkpoint, upgrades
from tests.potentials.test_nequip import TINY


@pytest.fixture
def network():
    torch.manual_seed(0)
    return checkpoint.build("nequip", TINY)


def rewrite(path, change):
    """Save a model file again with another description."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["matkit"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {"matkit": json.dumps(metadata)})


def test_what_is_written_is_read(network, tmp_path):
    path = checkpoint.save(network, tmp_path / "m.safetensors", {"licence": "MIT"})
    loaded, metadata = checkpoint.load(path)
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
    assert metadata["card"] == {"licence": "MIT"}
    assert metadata["elements"] == "H, O, Na, Cl"
    assert len(metadata["sha256"]) == 64
    assert not loaded.training


def test_a_wrapped_potential_is_saved_without_its_wrapper(network, tmp_path):
    path = checkpoint.save(Conservative(network), tmp_path / "m.safetensors")
    assert checkpoint.load(path)[0].recipe == network.recipe


def test_a_failed_write_leaves_the_old_file(network, tmp_path, monkeypatch):
    path = checkpoint.save(network, tmp_path / "m.safetensors")
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(network, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_built_by_hand_cannot_be_saved(tmp_path):
    network = building.model_class("nequip", Potential)(**TINY)
    with pytest.raises(CheckpointError, match="matkit.models.checkpoint.build"):
        checkpoint.save(network, tmp_path / "m.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="No model file at"):
        checkpoint.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, -10])
def test_truncated_file(network, tmp_path, keep):
    path = checkpoint.save(network, tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        checkpoint.load(path)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="of another program"):
        checkpoint.load(path)


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def plain_pickle(item, path):
    path.write_bytes(pickle.dumps(item))


@pytest.mark.parametrize("write", [torch.save, plain_pickle])
def test_pickles_are_refused_unread(tmp_path, write):
    path, mark = tmp_path / "m.safetensors", tmp_path / "exploded"
    write(Bomb(mark), path)
    with pytest.raises(CheckpointError, match="could run any program"):
        checkpoint.load(path)
    assert not mark.exists()


def test_a_description_of_any_length_is_read(network, tmp_path):
    first = set()
    for length in range(0, 256, 8):  # the length is what the file begins with
        path = checkpoint.save(network, tmp_path / "m.safetensors", {"notes": length * "x"})
        first.add(path.read_bytes()[0])
        assert checkpoint.load(path)[0].species == network.species
    assert 0x80 in first, "as a pickle begins"


def test_newer_format(network, tmp_path):
    path = checkpoint.save(network, tmp_path / "m.safetensors")
    rewrite(path, lambda metadata, _: metadata.update(format_version=99))
    with pytest.raises(CheckpointError, match="format 99.*pip install --upgrade matkit"):
        checkpoint.load(path)


def test_older_formats_are_upgraded_step_by_step(network, tmp_path, monkeypatch):
    path = checkpoint.save(network, tmp_path / "m.safetensors")
    rewrite(path, lambda metadata, _: metadata.update(format_version=0, model="old"))
    with pytest.raises(CheckpointError, match="never released"):
        checkpoint.load(path)

    def upgrade(content):
        return content[0] | {"model": "nequip"}, content[1]

    monkeypatch.setitem(upgrades.UPGRADES, 0, upgrade)
    assert checkpoint.load(path)[0].species == network.species


def test_tensors_that_do_not_fit_the_description(network, tmp_path):
    path = checkpoint.save(network, tmp_path / "m.safetensors")
    rewrite(path, lambda metadata, _: metadata["hyperparameters"].update(basis_size=5))
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        checkpoint.load(path)


def test_unknown_model_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'nequip'"):
        checkpoint.build("nequipp", {})


def test_unknown_hyperparameter():
    with pytest.raises(ConfigError, match="cutof"):
        checkpoint.build("nequip", TINY | {"cutof": 3})


def test_plug_in_models_are_found_by_name(monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("guest", "matkit.potentials.nequip", "matkit.potentials")

    def entry_points(group, name="guest"):
        return [point] if (group, name) == ("matkit.potentials", "guest") else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    assert "guest" in building.model_names(Potential)
    assert checkpoint.build("guest", TINY).cutoff == TINY["cutoff"]


def test_a_module_must_hold_one_model(monkeypatch):
    module = __import__("matkit.potentials.nequip", fromlist=["NequIP"])
    second = type("Second", (module.NequIP,), {"__module__": module.__name__})
    monkeypatch.setattr(module, "Second", second, raising=False)
    with pytest.raises(UnknownNameError, match="found 2"):
        building.model_class("nequip", Potential)
