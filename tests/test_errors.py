import pytest

from matkit.elements import atomic_number
from matkit.errors import MatkitError, UnknownNameError, did_you_mean


def test_nearest_name_is_suggested_and_all_are_listed():
    text = did_you_mean("sevenet-0", ["sevennet-0", "nequip"])
    assert text == " Did you mean 'sevennet-0'? Known: nequip, sevennet-0."
    assert did_you_mean("xyz", []) == " Known: none."


def test_unknown_symbol():
    with pytest.raises(UnknownNameError, match="'Xx' is not a chemical symbol"):
        atomic_number("Xx")


def test_one_base_class_catches_everything():
    with pytest.raises(MatkitError):
        atomic_number("Qq")
