"""Perceived molecules of QM9 are kept for the next run."""

import os

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.molecules import cached, reading
from matkit.molecules.geometries import read_known
from matkit.molecules.reading import read_molecules
from tests.molecules.files import qm9_file

NAMES = ("CH4", "C2H4", "CH3", "CH3NO2", "HCN")


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path / "cache"))
    rows = {number: molecule(name) for number, name in enumerate(NAMES, 1)}
    return qm9_file(tmp_path / "qm9.whl", rows)


@pytest.fixture
def perceptions(monkeypatch):
    """How often bonds were looked for."""
    calls, perceive = [], reading.perceive

    def counted(*args):
        calls.append(args)
        return perceive(*args)

    monkeypatch.setattr(reading, "perceive", counted)
    return calls


def test_the_second_time_nothing_is_perceived(wheel, perceptions):
    first, second = list(read_molecules(wheel)), list(read_molecules(wheel))
    assert len(perceptions) == len(NAMES)
    assert [entry.source for entry in second] == [f"QM9[{i}]" for i in range(1, 6)]
    plain = [reading._entry(one, 0) for one in reading.read_contents(wheel)]
    for entries in (first, second):
        for found, expected in zip(entries, plain, strict=True):
            assert (found.source, found.reason) == (expected.source, expected.reason)
            assert found.carried == expected.carried
            assert (found.structures is None) == (expected.structures is None)
            if expected.structures is not None:
                same(found.structures, expected.structures)
    assert sum(entry.structures is None for entry in second) == 1


def same(one, other):
    assert torch.equal(one.positions, other.positions)
    assert torch.equal(one.species, other.species)
    assert torch.equal(one.bonds, other.bonds)
    assert torch.equal(one.bond["order"], other.bond["order"])
    assert torch.equal(one.atom["formal_charge"], other.atom["formal_charge"])
    assert one.pbc.any() == other.pbc.any()


def test_another_file_or_another_time_is_perceived_anew(wheel, perceptions):
    list(read_molecules(wheel))
    os.utime(wheel, (1, 1))
    list(read_molecules(wheel))
    assert len(perceptions) == 2 * len(NAMES)


def test_a_damaged_cache_is_made_anew(wheel, perceptions):
    list(read_molecules(wheel))
    (file,) = (wheel.parent / "cache/molecules").iterdir()
    file.write_bytes(file.read_bytes()[:300])
    assert len(list(read_molecules(wheel))) == len(NAMES)
    assert len(perceptions) == 2 * len(NAMES)


def test_without_a_cache_it_works_too(wheel, monkeypatch):
    monkeypatch.setattr(cached, "cache_folder", lambda: None)
    assert len(list(read_molecules(wheel))) == len(NAMES)


def test_a_cache_that_cannot_be_written_is_told_of(wheel, monkeypatch, caplog):
    def full(*_args):
        raise OSError("no space left")

    monkeypatch.setattr(cached, "write_atomically", full)
    assert len(list(read_molecules(wheel))) == len(NAMES)
    assert "not kept for the next run: no space left" in caplog.text


def test_known_smiles_are_kept_too(wheel, perceptions):
    assert read_known(wheel) == read_known(wheel) == {"C", "C=C", "C[N+](=O)[O-]", "C#N"}


def test_a_wheel_without_molecules_that_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path / "cache"))
    wheel = qm9_file(tmp_path / "a.whl", {1: Atoms("C2", [[0, 0, 0], [0, 0, 9]])})
    for _ in range(2):
        (entry,) = read_molecules(wheel)
        assert entry.structures is None
        assert entry.reason
