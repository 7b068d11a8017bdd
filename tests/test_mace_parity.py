"""Energies, forces and stress equal to those of mace-torch, which runs in a Python of its own.

MATKIT_MACE_PYTHON names a Python with mace-torch.
"""

import os
import subprocess
from pathlib import Path

import pytest

from matkit.derivatives import force_field
from matkit.models import pickled
from tests.models.test_mace_files import deviations, read_numbers

PYTHON = os.environ.get("MATKIT_MACE_PYTHON")
PEER = Path(__file__).parent / "models" / "mace_peer.py"
# Of eV/atom, eV/Å and eV/Å³.
TOLERANCES = {"energy": 1e-9, "forces": 1e-8, "stress": 1e-9}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="MATKIT_MACE_PYTHON names no Python with mace-torch"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mace")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([str(PYTHON), "-W", "ignore", PEER, made], check=True, env=clean)
    return made


def test_all_variants_agree(folder):
    numbers = read_numbers(folder)
    assert len(numbers["models"]) >= 8
    for name, heads in numbers["models"].items():
        for head in heads:
            network, _ = pickled.convert(folder / f"{name}.model", head)
            found = deviations(network, numbers, name, head)
            print(name, head, found)
            assert all(found[key] <= TOLERANCES[key] for key in found), (name, head, found)


def test_weights_alone_give_the_same_network(folder):
    for name, heads in read_numbers(folder)["models"].items():
        head = next(iter(heads))
        whole, alone = (
            force_field(pickled.convert(folder / file, head).network).state_dict()
            for file in (f"{name}.model", f"{name}-weights.pt")
        )
        assert all((whole[key] == alone[key]).all() for key in whole), name
