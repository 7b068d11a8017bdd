"""Checks by PoseBusters."""

import sys

import pytest
from ase.build import molecule

from matkit.errors import MissingExtraError
from matkit.molecules.poses import PoseBuster, check_installed
from matkit.runs.items import Item


def checked(*molecules):
    pytest.importorskip("posebusters")
    items = [Item(i, str(i), atoms, "torn") for i, atoms in enumerate(molecules)]
    return PoseBuster("mol_fast")(items)


def test_a_true_molecule_passes_and_one_that_is_too_small_does_not():
    small = molecule("C2H6")
    small.positions *= 0.7
    good, bad = checked(molecule("CH3OH"), small)
    assert (good.status, good.reason) == ("done", "")
    assert bad.status == "rejected"
    assert bad.reason.startswith("bond_lengths")


def test_what_is_not_valid_is_not_checked():
    radical, unread = checked(molecule("CH3"), None)
    assert radical.status == unread.status == "rejected"
    assert unread.reason == "torn"


def test_an_error_of_a_library_is_kept(monkeypatch):
    def broken(*_args):
        raise RuntimeError("no inchi")

    monkeypatch.setattr("matkit.molecules.poses._missed", broken)
    (found,) = checked(molecule("CH4"))
    assert (found.status, found.reason) == ("failed", "RuntimeError: no inchi")


def test_without_posebusters_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "posebusters", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"matkit\[posebusters\]\""):
        check_installed()
