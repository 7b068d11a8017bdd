"""The uncertainty of a last linear map."""

import pytest
import torch

from matkit.nn.heads.last_layer import LastLayer


@pytest.fixture(scope="module")
def fitted():
    """A layer that knows 200 rows along one axis and a few numbers of noise 0.3."""
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(200, 2, generator=generator, dtype=torch.float64) * torch.tensor([3, 0.1])
    valid = torch.randn(500, 2, generator=generator, dtype=torch.float64) * torch.tensor([3, 0.1])
    errors = 0.3 * torch.randn(500, generator=generator, dtype=torch.float64)
    layer = LastLayer(2)
    layer.fit(train.T @ train, valid, errors)
    return layer, valid, errors


def test_errors_are_as_large_as_their_deviations(fitted):
    layer, valid, errors = fitted
    assert float((errors / layer(valid)).square().mean()) == pytest.approx(1, rel=1e-6)
    assert float(layer.noise) == pytest.approx(0.3, rel=0.1)


def test_where_nothing_was_seen_it_is_more_uncertain(fitted):
    layer = fitted[0]
    along, across = (torch.tensor([row]).double() for row in ([3.0, 0.0], [0.0, 3.0]))
    assert float(layer(across)) > 1.3 * float(layer(along))


def test_it_is_the_closed_form(fitted):
    layer = fitted[0]
    x = torch.tensor([[1.0, 2.0]]).double()
    expected = layer.noise * (1 + x @ layer.covariance @ x.T).sqrt()
    torch.testing.assert_close(layer(x), expected.view(1))


def test_rounding_a_network_leaves_it_exact(fitted):
    layer = LastLayer(2)
    layer.load_state_dict(fitted[0].state_dict())
    assert layer.float().covariance.dtype == torch.float64
    assert torch.equal(layer.covariance, fitted[0].covariance)
