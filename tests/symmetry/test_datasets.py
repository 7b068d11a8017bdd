import numpy as np
import pytest
from ase.build import bulk

from matkit.symmetry.datasets import symmetry_dataset


@pytest.mark.parametrize("old", [True, False])
def test_no_symmetry_is_none_whatever_the_options_of_spglib(old, monkeypatch):
    error = pytest.importorskip("spglib.error", reason="old versions have no such option")
    monkeypatch.setattr(error, "OLD_ERROR_HANDLING", old)
    close = np.eye(3) * 4, np.zeros((2, 3)), [1, 1]
    assert symmetry_dataset(close, 0.1) is None
    copper = bulk("Cu")
    crystal = copper.cell.array, copper.get_scaled_positions(), copper.numbers
    assert symmetry_dataset(crystal, 0.01).number == 225


def test_spglib_is_silent(capfd):
    # Nearly symmetric: spglib tightens the tolerance until it finds something.
    cell = [[4.32, 0.039, 0.49], [0.012, 4.154, -0.484], [0.958, -0.817, 10.965]]
    fractional = [
        *([0.487, 0.913, 0.011], [0.05, 0.345, 0.886], [0.662, 0.942, 0.66], [0.163, 0.712, 0.656]),
        *(
            [0.839, 0.557, 0.303],
            [0.915, 0.985, 0.156],
            [0.275, 0.113, 0.428],
            [0.415, 0.486, 0.157],
        ),
    ]
    symmetry_dataset((cell, fractional, [33, 38, 30, 33, 33, 30, 38, 30]), 0.1)
    assert capfd.readouterr().err == ""
