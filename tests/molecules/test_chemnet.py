"""The Fréchet ChemNet distance."""

import sys

import numpy as np
import pytest

from matkit.errors import MissingExtraError
from matkit.molecules.chemnet import activations, check_installed, chemnet_score, frechet

CLOSED = ["CCO", "CCN", "CC#N", "C1CC1O", "CC=O", "COC"]


def test_gaussians_have_the_distance_of_the_closed_form():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(20_000, 2)) * [1, 2]
    other = rng.normal(size=(20_000, 2)) * [3, 2] + [1, 0]
    assert frechet(one, other) == pytest.approx(1 + (3 - 1) ** 2, rel=0.05)
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)


def test_one_vector_has_no_covariance():
    assert frechet(np.zeros((1, 2)), np.zeros((3, 2))) is None


@pytest.mark.slow
def test_it_is_the_number_of_the_package():
    fcd = pytest.importorskip("fcd")
    aromatic = ["c1ccccc1", "c1ccncc1", "Cc1ccccc1", "Oc1ccccc1"]
    score = chemnet_score(CLOSED, aromatic, np.random.default_rng(0))
    assert score.value > chemnet_score(CLOSED, CLOSED[:4], np.random.default_rng(0)).value
    vectors = activations(CLOSED), activations(aromatic)
    theirs = fcd.fcd.calculate_frechet_distance(
        *(m for v in vectors for m in (v.mean(0), np.cov(v.T)))
    )
    assert score.value == pytest.approx(theirs, rel=1e-3)


def test_without_fcd_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcd", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"matkit\[fcd\]\""):
        check_installed()
