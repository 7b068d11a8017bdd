"""Tables of radial functions that depend on the kind of the pair."""

import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.frozen.pair_table import LOW, PairSlots, tabulate_pairs
from matkit.nn.frozen.table_rows import interpolate
from matkit.nn.kernels.spline import HERMITE, SPLINES
from matkit.nn.radial_functions import Mixture

HIGH = 5.0
KINDS = [7, 2, 4]
SLOTS = PairSlots.of(KINDS, 9, HIGH, torch.device("cpu"))


def lengths(n: int = 60) -> torch.Tensor:
    return torch.linspace(LOW, HIGH, n, dtype=torch.float64)


def width(kind: int) -> float:
    return 1 + 0.2 * kind


def function(codes: torch.Tensor) -> torch.Tensor:
    """Two smooth functions that differ by kind and end at the cutoff."""
    r, kinds = SLOTS.decode(codes)
    x = r / (1 + 0.2 * kinds)
    return torch.stack([torch.exp(-x), x**2], dim=1) * (1 - r / HIGH).unsqueeze(1) ** 3


def test_codes_say_length_and_kind():
    for kind in KINDS:
        kinds = torch.full((60,), kind)
        codes, slope = SLOTS.code(lengths(), kinds)
        found, again = SLOTS.decode(codes)
        assert torch.allclose(found, lengths(), rtol=1e-14)
        assert torch.equal(again, kinds)
        assert torch.allclose(codes, slope * lengths())


def test_what_has_no_table_has_the_code_zero():
    r = torch.tensor([LOW / 2, 1.0], dtype=torch.float64)
    codes, _ = SLOTS.code(r, torch.tensor([7, 3]))
    assert codes.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_table_has_the_functions_of_all_kinds(dtype, mixed):
    mixing = torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 0.0]], dtype=torch.float64)
    whole = Mixture(function, mixing) if mixed else function
    parts = [SLOTS.of_kind(whole, place) for place in range(3)]
    table = tabulate_pairs(parts, SLOTS, dtype)
    spline = (
        HERMITE if dtype == torch.float32 else next(s for s in SPLINES.values() if s != HERMITE)
    )
    for kind in KINDS:
        codes, slope = SLOTS.code(lengths(), torch.full((60,), kind))
        assert table.covers(codes)
        value, by_code = interpolate(spline, table.rows, table.grid, codes)
        leaf = codes.clone().requires_grad_()
        expected = whole(leaf)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-9
        assert torch.allclose(value.double(), expected.detach(), rtol=0, atol=tolerance)
        for column in range(expected.shape[1]):
            (exact,) = torch.autograd.grad(expected[:, column].sum(), leaf, retain_graph=True)
            error = (by_code[:, column] - exact) * slope
            assert error.abs().max() < 10 * tolerance
        assert value[-1].abs().max() < 1e-12


def test_the_rough_are_refused():
    def kink(r: torch.Tensor) -> torch.Tensor:
        return (r - 2).abs().unsqueeze(1)

    with pytest.raises(ConfigError, match="too rough"):
        tabulate_pairs([kink, kink], SLOTS, torch.float64)
