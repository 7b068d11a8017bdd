import numpy as np
import pytest
from ase import Atoms
from scipy.integrate import solve_ivp

from matkit.hessians.calculators import difference_hessian
from matkit.hessians.modes import normal_modes
from matkit.simulate.optimizers import PRFO
from matkit.transition import PathOptions, follow
from matkit.transition.irc import quadratic_descent
from matkit.transition.results import arc_lengths
from tests.transition.surfaces import MINIMA, SADDLES, MuellerBrown, Quadratic, particle

SURFACE = MuellerBrown()


@pytest.fixture(scope="module")
def saddles():
    """Saddle points with the direction of their imaginary mode."""
    found = []
    for place in SADDLES:
        atoms = particle(*place)
        assert PRFO(atoms, method="finite-difference", every=1).run(fmax=1e-7, steps=10)
        modes = normal_modes(atoms, difference_hessian(atoms, atoms.calc, [1]), [1])
        found.append((atoms, modes.vectors[0]))
    return found


def options(step=0.05, every=1, points=100, fmax=0.05):
    return PathOptions("finite-difference", every, step, points, fmax)


def steepest_descent(start, length):
    """Points of the steepest descent [P, 3], by a fine integration until the gradient is small."""

    def slope(_, place):
        gradient = SURFACE.surface(place)[1]
        return -gradient / np.linalg.norm(gradient)

    def foot(s, place):
        return np.linalg.norm(SURFACE.surface(place)[1]) - 0.008 if s > 0.05 else 1.0

    foot.terminal = True
    path = solve_ivp(slope, (0, length), start, events=foot, max_step=5e-3, rtol=1e-8, atol=1e-10)
    return path.y.T


def distances(points, path):
    """Distance of every point [P] from a polygon."""
    first, edges = path[:-1], np.diff(path, axis=0)
    away = points[:, None] - first
    along = np.clip((away * edges).sum(-1) / (edges**2).sum(-1), 0, 1)
    return np.linalg.norm(away - along[..., None] * edges, axis=-1).min(axis=1)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(("number", "minimum"), [(0, 0), (0, 1), (1, 1), (1, 2)])
def test_the_path_is_that_of_steepest_descent(saddles, number, minimum, every):
    saddle, mode = saddles[number]
    wanted = MINIMA[minimum] - SADDLES[number]
    side = np.sign(mode[1, :2] @ wanted) * mode
    branch = follow(saddle, SURFACE, side, options(every=every))
    start = saddle.positions[1] + 1e-4 * side[1] / np.linalg.norm(side)
    exact = steepest_descent(start, 3.0)
    points = np.array([frame.positions[1] for frame in branch.frames])
    assert branch.end == "minimum"
    assert np.linalg.norm(exact[-1, :2] - MINIMA[minimum]) < 6e-3
    assert np.linalg.norm(points[-1, :2] - MINIMA[minimum]) < 0.02
    assert distances(points, exact).max() < 0.012


def test_shorter_steps_are_nearer_to_the_path(saddles):
    saddle, mode = saddles[0]
    exact = steepest_descent(saddle.positions[1] + 1e-4 * mode[1], 3.0)
    errors = []
    for step in (0.1, 0.025):
        frames = follow(saddle, SURFACE, mode, options(step)).frames
        points = np.array([frame.positions[1] for frame in frames])
        middle = points[: len(points) // 2]
        errors.append(distances(middle, exact).max())
    assert errors[1] < errors[0] / 2


def test_points_have_the_distance_asked_for(saddles):
    saddle, mode = saddles[0]
    frames = [saddle, *follow(saddle, SURFACE, mode, options(0.02)).frames]
    assert np.diff(arc_lengths(frames, 0))[:-1] == pytest.approx(0.02, rel=0.02)
    assert arc_lengths(frames, 3)[3] == 0


def test_energies_fall_and_every_point_is_reported(saddles):
    saddle, mode = saddles[1]
    seen = []
    branch = follow(saddle, SURFACE, mode, options(), seen.append)
    energies = [frame.get_potential_energy() for frame in branch.frames]
    assert (np.diff([saddle.get_potential_energy(), *energies]) < 0).all()
    assert seen == branch.frames


def test_a_limit_of_points_is_said(saddles):
    saddle, mode = saddles[0]
    branch = follow(saddle, SURFACE, mode, options(points=3))
    assert (branch.end, len(branch.frames)) == ("max_points", 3)


def test_the_minimum_is_found_without_a_threshold(saddles):
    saddle, mode = saddles[0]
    branch = follow(saddle, SURFACE, mode, options(fmax=1e-12))
    assert branch.end == "minimum"
    places = [branch.frames[-1].positions[1, :2] - minimum for minimum in MINIMA]
    assert min(np.linalg.norm(place) for place in places) < 5e-3


@pytest.mark.parametrize("values", [[1.0, 20.0, 300.0], [-2.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
def test_descent_of_a_quadratic(values):
    h, g, length = np.array(values), np.array([0.3, -0.5, 0.4]), 0.05

    def slope(_, q):
        gradient = g + h * q
        return -gradient / np.linalg.norm(gradient)

    exact = solve_ivp(slope, (0, length), np.zeros(3), rtol=1e-10, atol=1e-12).y[:, -1]
    assert quadratic_descent(h, g, length) == pytest.approx(exact, abs=1e-7)


def test_descent_ends_at_the_minimum_of_the_model():
    h, g = np.array([1.0, 20.0, 300.0]), np.array([0.3, -0.5, 0.4])
    assert quadratic_descent(h, g, 5.0) == pytest.approx(-g / h, rel=1e-4)
    assert not quadratic_descent(h, np.zeros(3), 1.0).any()
    assert not quadratic_descent(np.zeros(0), np.zeros(0), 1.0).any()


def test_masses_count():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])
    ridge = np.zeros((6, 6))
    ridge[2, 2] = ridge[5, 5] = -1.0
    ridge[2, 5] = ridge[5, 2] = 1.0
    atoms.set_masses([1.0, 3.0])
    branch = follow(
        atoms,
        Quadratic(ridge, atoms.positions),
        np.array([[0, 0, -1.0], [0, 0, 1 / 3]]),
        options(0.1, points=2),
    )
    moved = branch.frames[-1].positions - atoms.positions
    assert moved[0, 2] == pytest.approx(-3 * moved[1, 2])
