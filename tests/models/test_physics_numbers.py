"""What cards say of the physics of models."""

import pytest

from matkit.errors import DataError
from matkit.models import cards, checkpoint
from matkit.models.physics_numbers import physics_of, write_physics
from tests.models.test_trim import network

DISTANCE = {"against": "big", "number": "volume", "unit": "Å³/atom", "model": "small"}
MEASURED = {
    "models": {"big": {"sha256": "b"}, "small": {"sha256": "s"}, "emt": {"calculator": "EMT"}},
    "distances": [
        DISTANCE | {"mean": 0.12345, "items": 30, "failed": 0},
        DISTANCE | {"number": "kappa_SRME", "unit": "", "mean": 0.5, "items": 2, "failed": 1},
        DISTANCE | {"number": "surface energy", "mean": None, "items": 0, "failed": 9},
        DISTANCE | {"against": "PBE", "model": "big", "mean": 0.1, "items": 9, "failed": 0},
    ],
}


@pytest.fixture
def file(tmp_path):
    assert write_physics(MEASURED, tmp_path / "physics.json") == ["big", "small"]
    return tmp_path / "physics.json"


def test_numbers_are_said_in_a_line(file):
    line = "from big: volume 0.123 Å³/atom (30), kappa_SRME 0.5 (2, 1 failed)"
    assert physics_of("small", "s", file) == line
    assert physics_of("big", "b", file) == "from PBE: volume 0.1 Å³/atom (9)"


def test_nothing_is_said_of_other_weights_or_models(file, tmp_path):
    assert physics_of("small", "another", file) == ""
    assert physics_of("other", "s", file) == ""
    assert physics_of("small", "s", tmp_path / "absent.json") == ""


def test_only_a_comparison_is_taken(tmp_path):
    with pytest.raises(DataError, match="Expected comparison.json"):
        write_physics({"checks": []}, tmp_path / "physics.json")


def test_the_card_shows_them(file, tmp_path, monkeypatch):
    path = tmp_path / "small.safetensors"
    checkpoint.save(network(), path)
    assert cards.model_card(path).physics == ""
    monkeypatch.setattr(cards, "physics_of", lambda name, sha256: f"{name} {len(sha256)}")
    assert cards.model_card(path).physics == "small 64"
