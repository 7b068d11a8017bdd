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
