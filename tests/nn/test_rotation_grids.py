import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre

from matkit.nn.rotation_grids import rotation_grid

DEGREES = {12: 2, 24: 3, 60: 5, 256: 7, 500: 9}


@pytest.mark.parametrize("size", DEGREES)
def test_averages_vanish_up_to_the_degree_and_not_beyond(size):
    matrices, weights = rotation_grid(size, reflections=False)
    assert len(matrices) == size
    assert weights.sum().item() == pytest.approx(1)
    eye = torch.eye(3, dtype=torch.float64).expand_as(matrices)
    assert torch.allclose(matrices @ matrices.mT, eye, atol=1e-12)
    assert (torch.linalg.det(matrices) > 0).all()
    # Zonal harmonics about random axes of a random direction: matrix elements of the degree.
    a, b = Rotation.random(2, random_state=0).as_matrix()[:, :, 0]
    cosines = np.einsum("x,kxy,y->k", a, matrices.numpy(), b).clip(-1, 1)
    means = [float(weights.numpy() @ eval_legendre(degree, cosines)) for degree in range(1, 17)]
    assert np.abs(means[: DEGREES[size]]).max() < 1e-12
    assert np.abs(means[DEGREES[size] :]).max() > 1e-3


def test_reflections_remove_odd_degrees():
    matrices, weights = rotation_grid(24, reflections=True)
    assert torch.linalg.det(matrices).round().sum() == 0
    cosines = matrices[:, 0, 1].numpy()
    assert [float(weights.numpy() @ eval_legendre(n, cosines)) for n in (1, 3, 5, 7)] == (
        pytest.approx([0] * 4, abs=1e-14)
    )
