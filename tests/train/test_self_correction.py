"""A generator that corrects itself: what a round draws, keeps, learns and leaves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

from matkit.errors import ConfigError
from matkit.generate import relaxing
from matkit.generative.crystalflow import CrystalFlow
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build
from matkit.train import api, correction_numbers, self_correction
from matkit.train.generator_options import GeneratorOptions
from matkit.train.session import Listener
from tests.train.crystal_files import FLOW, crystals, csv_file

ROUND = {"numbers.json", "kept.extxyz", "corrected.safetensors", "config.yaml", "log.csv", "drawn"}


class Balloon(Calculator):
    """Only the volume of an atom has an energy, which is least at 15 Å³; knows where it runs."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
    species = (8, 11, 22)
    info = {"model": "balloon"}  # noqa: RUF012
    device = "cpu"

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        excess = atoms.get_volume() / len(atoms) - 15.0
        self.results = {
            "energy": 0.01 * len(atoms) * excess**2,
            "forces": np.zeros((len(atoms), 3)),
            "stress": 0.02 * excess * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        }


@pytest.fixture(autouse=True)
def verifier(monkeypatch):
    """A potential without a network, and crystals in few steps."""

    def load(*_args, **_more):
        return Balloon()

    monkeypatch.setattr(relaxing, "_calculator", load)
    monkeypatch.setattr(correction_numbers, "load_calculator", load)
    monkeypatch.setattr(CrystalFlow, "steps", 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Crystals of two atoms, and a hull above everything."""
    folder = tmp_path_factory.mktemp("files")
    small = [atoms for atoms in crystals(16) if len(atoms) == 2]
    hull = folder / "hull.csv"
    hull.write_text("formula,energy_per_atom\nTi,1\nNa,1\nO,1\n")
    return {
        "train_file": csv_file(folder / "train.csv", small),
        "valid_file": csv_file(folder / "valid.csv", small[:2]),
        "verifier_hull": [str(hull)],
    }


@pytest.fixture
def options(tmp_path, files):
    """Options of a run that takes a second."""
    rest = {"model": FLOW, "generates_species": True, "max_num_epochs": 1, "report": False}
    rounds = {"self_correct": 2, "correct_samples": 4, "correct_epochs": 1, "verifier": "balloon"}
    rounds |= {"judge_samples": 3}

    def make(**changes):
        given = {**files, **rest, **rounds, "work_dir": str(tmp_path), **changes}
        return build(GeneratorOptions, given)

    return make


def numbers_of(folder, number, name="numbers"):
    return json.loads((folder / f"round-{number}" / f"{name}.json").read_text())


def weights(path):
    return {k: v.tolist() for k, v in checkpoint.load(path, Generator)[0].state_dict().items()}


def test_rounds_leave_their_settings_structures_and_numbers(options, tmp_path):
    notes = []
    done = api.train(options(correct_weight=2), listener=Listener(note=notes.append))
    folder = tmp_path / "model"
    assert done.model == folder / "round-2" / "corrected.safetensors"
    for number in (1, 2):
        assert {path.name for path in (folder / f"round-{number}").iterdir()} >= ROUND
    first = numbers_of(folder, 1)
    kept = read(folder / "round-1" / "kept.extxyz", ":")
    assert first["drawn"] == 4
    assert len(kept) == first["kept"] == first["stable_unique_and_new"] > 0
    assert first["settings"]["correct_weight"] == 2
    assert any(text.startswith("round-1, numbers: 4 drawn") for text in notes)
    trained = (folder / "round-2" / "config.yaml").read_text()
    assert trained.count("round-1/kept.extxyz") == trained.count("round-2/kept.extxyz") == 2
    assert weights(done.model) != weights(folder / "model.safetensors")


def test_what_is_not_stable_is_not_kept(options, tmp_path):
    hull = tmp_path / "deep.csv"
    hull.write_text("formula,energy_per_atom\nTi,-9\nNa,-9\nO,-9\n")
    api.train(options(self_correct=1, verifier_hull=str(hull)))
    found = numbers_of(tmp_path / "model", 1)
    assert found["relaxed"] > 0
    assert found["stable"] == found["kept"] == 0


def test_the_control_keeps_what_is_valid_as_it_was_drawn(options, tmp_path):
    api.train(options(self_correct=1, verifier="none"))
    found = numbers_of(tmp_path / "model", 1)
    assert found["relaxed"] == 0
    assert found["kept"] > 0
    drawn = read(tmp_path / "model" / "round-1" / "drawn" / "generated.extxyz", ":")
    kept = read(tmp_path / "model" / "round-1" / "kept.extxyz", ":")
    cells = [atoms.cell.array.tolist() for atoms in drawn]
    assert all(atoms.cell.array.tolist() in cells for atoms in kept)


def test_a_second_potential_judges_every_round_and_the_start(options, tmp_path, files):
    judge = {"judge": "balloon", "judge_hull": files["verifier_hull"]}
    api.train(options(self_correct=1, **judge))
    for number in (0, 1):
        found = numbers_of(tmp_path / "model", number, "judged")
        assert found["drawn"] == 3
        assert found["settings"]["judge"] == "balloon"


@pytest.mark.slow
def test_a_run_that_stops_anywhere_ends_with_the_same_weights(options, monkeypatch):
    whole = api.train(options(name="whole", self_correct=1))

    class StopError(Exception):
        pass

    def stop(*_args, **_more):
        raise StopError

    origin = SimpleNamespace(Verifier=self_correction.Verifier, pack=self_correction.pack)
    for place in ("Verifier", "pack"):
        monkeypatch.setattr(self_correction, place, stop)
        with pytest.raises(StopError):
            api.train(options(name="pieces", self_correct=1, restart="auto"))
        monkeypatch.setattr(self_correction, place, getattr(origin, place))
    pieces = api.train(options(name="pieces", self_correct=1, restart="auto"))
    assert weights(whole.model) == weights(pieces.model)
    again = api.train(options(name="pieces", self_correct=1, restart="auto"))
    assert weights(again.model) == weights(whole.model)


def test_rounds_of_other_settings_are_not_mixed(options, tmp_path):
    api.train(options(self_correct=1))
    with pytest.raises(ConfigError, match=r"of another run: stable = 0.1 then, 0.2 now"):
        api.train(options(self_correct=1, stable=0.2, restart="auto"))
    api.train(options(self_correct=1, stable=0.2, overwrite=True))
    assert numbers_of(tmp_path / "model", 1)["settings"]["stable"] == 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid_file": []}, "--valid-file"),
        ({"devices": 2}, "one process"),
        ({"model": "edm", "generates_species": False}, "Only generators of crystals"),
        ({"judge": "balloon"}, "judge and judge_hull belong together"),
    ],
)
def test_what_rounds_cannot_do(options, changes, message):
    with pytest.raises(ConfigError, match=message):
        api.train(options(**changes))
