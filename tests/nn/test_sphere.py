import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.activation import smooth_silu
from matkit.nn.irreps import Irrep, parse_irreps, spherical_harmonics
from matkit.nn.mixing import EquivariantNorm, GateMixer, GridMixer
from matkit.nn.sphere import DEGREES, Sphere, check_points, half_rule, required_degree
from matkit.testing.systems import random_rotation

RULES = [(n, degree // 2) for n, degree in DEGREES.items() if degree // 2 <= 6]


def random_features(lmax: int, channels: int = 3, atoms: int = 5):
    generator = torch.Generator().manual_seed(lmax)
    shapes = [(atoms, 2 * degree + 1, channels) for degree in range(lmax + 1)]
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


def wigner(degree: int, rotation: torch.Tensor) -> torch.Tensor:
    """D with Y(R n) = D Y(n), from the harmonics of random directions."""
    generator = torch.Generator().manual_seed(0)
    n = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    n = n / n.norm(dim=1, keepdim=True)
    part = slice(degree**2, (degree + 1) ** 2)
    before = spherical_harmonics(degree, n)[:, part]
    after = spherical_harmonics(degree, n @ rotation.T)[:, part]
    return torch.linalg.lstsq(before, after).solution.T


def turned(x, rotation):
    return tuple(wigner(degree, rotation) @ part for degree, part in enumerate(x))


@pytest.mark.parametrize("points", DEGREES)
def test_rules_are_symmetric_and_integrate_what_they_promise(points):
    directions, weights = half_rule(points)
    assert len(directions) == points // 2
    assert float(weights.sum()) == pytest.approx(0.5, abs=1e-12)
    assert (weights > 0).all()
    # Means over the sphere: <z^2k> = 1 / (2k + 1), also about a tilted axis.
    z = directions @ torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64)
    for k in range(DEGREES[points] // 2 + 1):
        assert 2 * float(weights @ z ** (2 * k)) == pytest.approx(1 / (2 * k + 1), abs=1e-11)


@pytest.mark.parametrize(("points", "lmax"), RULES)
def test_there_and_back_is_the_identity(points, lmax):
    sphere, x = Sphere(lmax, points), random_features(lmax)
    back = sphere.analysis(sphere.synthesis(x))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(x, back, strict=True))


def test_values_are_those_of_the_harmonics():
    lmax = 4
    sphere, x = Sphere(lmax, 110), random_features(lmax)
    directions, _ = half_rule(110)
    harmonics = spherical_harmonics(lmax, torch.cat([directions, -directions])) / (lmax + 1)
    expected = harmonics @ torch.cat(x, dim=1)
    assert torch.allclose(sphere.synthesis(x), expected, rtol=0, atol=1e-12)


def test_a_square_is_exact_from_the_stated_degree_on():
    """The square of a signal turns with it if and only if the rule is fine enough."""
    lmax, rotation = 2, random_rotation()
    x = random_features(lmax)
    for points, degree in DEGREES.items():
        if degree < required_degree(lmax):
            continue
        sphere = Sphere(lmax, points)
        first = turned(sphere.analysis(sphere.synthesis(x).square()), rotation)
        second = sphere.analysis(sphere.synthesis(turned(x, rotation)).square())
        error = max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))
        assert (error < 1e-12) == (degree >= required_degree(lmax, order=2))


@pytest.mark.parametrize(
    ("points", "lmax", "order", "message"),
    [
        (100, 2, 1, "no Lebedev rule of 100 points"),
        (6, 2, 1, "need 4: take at least 14 points"),
        (38, 3, 2, None),
        (26, 3, 2, "need 9: take at least 38 points"),
        (302, 20, 1, "lower lmax"),
    ],
)
def test_rules_that_are_too_coarse_are_refused(points, lmax, order, message):
    if message is None:
        check_points(points, lmax, order)
        return
    with pytest.raises(ConfigError, match=message):
        check_points(points, lmax, order)


# Largest and root-mean-square change of the result when features turn before instead of after,
# relative to the result's root mean square, for features of unit variance.
GRIDS = {(2, 110): (5e-3, 4e-4), (2, 194): (1e-3, 4e-5), (3, 170): (1e-2, 1e-3)}


@torch.no_grad()
def rotation_error(mixer: GridMixer) -> tuple[float, float]:
    worst, squares = 0.0, []
    generator = torch.Generator().manual_seed(1)
    shapes = [(50, irrep.dim, irrep.channels) for irrep in mixer.irreps_in]
    x = tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    y = mixer(x)
    scale = torch.cat([part.flatten() for part in y]).square().mean().sqrt()
    for seed in range(10):
        rotation = random_rotation(seed)
        pairs = zip(turned(y, rotation), mixer(turned(x, rotation)), strict=True)
        error = torch.cat([(a - b).flatten() for a, b in pairs]) / scale
        worst = max(worst, float(error.abs().max()))
        squares.append(error.square().mean())
    return worst, float(torch.stack(squares).mean().sqrt())


@pytest.mark.parametrize(("lmax", "points"), GRIDS)
def test_rotation_error_of_the_grid(lmax, points):
    torch.manual_seed(0)
    irreps = tuple(Irrep(32, degree, (-1) ** degree) for degree in range(lmax + 1))
    worst, rms = rotation_error(GridMixer(irreps, 32, points).double())
    print(f"lmax {lmax}, {points} points: at most {worst:.1e}, root mean square {rms:.1e}")
    assert worst < GRIDS[lmax, points][0]
    assert rms < GRIDS[lmax, points][1]


def test_inversion_is_exact_to_the_bit():
    torch.manual_seed(0)
    mixer = GridMixer(parse_irreps("8x0e+8x1o+8x2e+8x3o"), 8, 110)
    shapes = [(20, irrep.dim, irrep.channels) for irrep in mixer.irreps_in]
    x = tuple(torch.randn(shape) for shape in shapes)
    signs = [1, -1, 1, -1]
    inverted = mixer(tuple(s * part for s, part in zip(signs, x, strict=True)))
    for s, a, b in zip(signs, mixer(x), inverted, strict=True):
        assert torch.equal(s * a, b)


@pytest.mark.parametrize("offset", [1.0, 1e-5])
def test_norm_is_equivariant_and_has_unit_root_mean_square(offset):
    irreps = parse_irreps("32x0e+16x1o+8x2e")
    norm = EquivariantNorm(irreps, 1.0, offset).double()
    x = tuple(
        100 * torch.randn(20, irrep.dim, irrep.channels, dtype=torch.float64) for irrep in irreps
    )
    y = tuple(part.detach() for part in norm(x))
    assert torch.allclose(y[0].mean(2), torch.zeros(20, 1, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(y[0].square().mean(2), torch.ones(20, 1, dtype=torch.float64), rtol=1e-3)
    rest = torch.cat([part.flatten(1) for part in y[1:]], dim=1).square().mean(1)
    assert torch.allclose(rest, torch.ones_like(rest), rtol=1e-3)
    rotation = random_rotation()
    for a, b in zip(turned(y, rotation), norm(turned(x, rotation)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


def test_norm_is_linear_near_sites_of_high_symmetry():
    """There, vectors vanish; with a small offset a tiny displacement would make them large."""
    norm = EquivariantNorm(parse_irreps("4x0e+4x1o"), 1.0).double()
    vector = torch.ones(1, 3, 4, dtype=torch.float64)
    scalars = torch.randn(1, 1, 4, dtype=torch.float64)
    slopes = [norm((scalars, size * vector))[1] / size for size in (1e-6, 1e-3)]
    assert torch.allclose(*slopes, rtol=1e-5)
    assert torch.allclose(slopes[0], vector, rtol=1e-5)


def test_gate_mixer_is_equivariant():
    torch.manual_seed(0)
    mixer = GateMixer(parse_irreps("8x0e+4x1o+2x2e")).double()
    x = tuple(torch.randn(9, i.dim, i.channels, dtype=torch.float64) for i in mixer.irreps_in)
    rotation = random_rotation()
    for a, b in zip(turned(mixer(x), rotation), mixer(turned(x, rotation)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("irreps", ["8x0e+4x1e", "8x0e+4x2e", "8x0e+4x1o+4x1e", "8x0o"])
def test_signals_have_natural_parity(irreps):
    with pytest.raises(ConfigError, match=r"0e\+1o\+2e"):
        GridMixer(parse_irreps(irreps), 4, 110)


def test_activation_is_silu_with_all_its_derivatives():
    x = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    got, expected = smooth_silu(x), torch.nn.functional.silu(x)
    for _ in range(4):
        assert torch.allclose(got, expected, rtol=0, atol=1e-12)
        (got,) = torch.autograd.grad(got.sum(), x, create_graph=True)
        (expected,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
    # Without a graph the last derivative takes another way.
    mixed = torch.randn(25, dtype=torch.float64, requires_grad=True)
    results = []
    for function in (smooth_silu, torch.nn.functional.silu):
        (slope,) = torch.autograd.grad((function(x) * mixed).sum(), x, create_graph=True)
        results.append(torch.autograd.grad(slope.square().sum(), (x, mixed)))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_activation_under_function_transforms():
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.grad(smooth_silu))(x)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(torch.nn.functional.silu(leaf).sum(), leaf)
    assert torch.allclose(slopes, expected)
