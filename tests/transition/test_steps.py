import numpy as np
import pytest

from matkit.simulate.optimizers.quadratic import model_changes, restricted_step
from matkit.simulate.optimizers.trust import Trust, deviation
from matkit.simulate.optimizers.updates import bfgs, bofill


def symmetric(size, seed, shift=0.0):
    a = np.random.default_rng(seed).normal(size=(size, size))
    return a @ a.T + shift * np.eye(size)


def vectors(size, count, seed):
    return np.random.default_rng(seed).normal(size=(count, size))


def augmented(h, g, alpha=1.0):
    size = len(h)
    matrix = np.zeros((size + 1, size + 1))
    matrix[:size, :size] = np.diag(h)
    matrix[size, :size] = matrix[:size, size] = g
    scale = np.diag([1 / alpha] * size + [1.0])
    return scale @ matrix


def test_the_step_is_newtons_where_it_can_be():
    h, g = np.array([1.0, 4.0, 9.0]), np.array([0.1, -0.2, 0.3])
    assert restricted_step(h, g, 1.0) == pytest.approx(-g / h)
    saddle = np.array([-1.0, 4.0, 9.0])
    assert restricted_step(saddle, g, 1.0, uphill=0) == pytest.approx(-g / saddle)


def test_the_step_solves_the_augmented_equations():
    h, g = np.array([-2.0, 1.0, 5.0]), np.array([0.3, -0.2, 0.4])
    step = restricted_step(h, g, 10.0)
    lowest = np.linalg.eigvalsh(augmented(h, g))[0]
    vector = np.append(step, 1.0)
    assert augmented(h, g) @ vector == pytest.approx(lowest * vector, abs=1e-10)


def test_one_coordinate_is_maximised():
    h, g = np.array([2.0, 1.0, 5.0]), np.array([0.3, -0.2, 0.4])
    step = restricted_step(h, g, 10.0, uphill=0)
    highest = np.linalg.eigvalsh(augmented(h[:1], g[:1]))[-1]
    assert step[0] == pytest.approx(g[0] / (highest - h[0]))
    lowest = np.linalg.eigvalsh(augmented(h[1:], g[1:]))[0]
    assert step[1:] == pytest.approx(g[1:] / (lowest - h[1:]))
    changes = model_changes(h, g, step)
    assert changes[0] > 0 > changes[1:].max()


@pytest.mark.parametrize("uphill", [None, 0, 2])
@pytest.mark.parametrize("radius", [1e-4, 0.05, 0.2])
def test_the_step_is_as_long_as_allowed(uphill, radius):
    h, g = np.array([-2.0, 0.01, 5.0]), np.array([0.3, -0.5, 0.4])
    step = restricted_step(h, g, radius, uphill)
    assert np.linalg.norm(step) == pytest.approx(radius)
    signs = np.ones(3)
    if uphill is not None:
        signs[uphill] = -1
    assert (signs * step * g < 0).all()


def test_short_steps_go_along_the_gradient():
    h, g = np.array([-2.0, 0.01, 5.0]), np.array([0.3, -0.5, 0.4])
    step = restricted_step(h, g, 1e-6)
    assert step / 1e-6 == pytest.approx(-g / np.linalg.norm(g), abs=1e-4)


def test_a_ridge_is_left_though_the_gradient_has_no_direction():
    step = restricted_step(np.array([-2.0, 3.0]), np.array([0.0, 0.3]), 0.2)
    assert abs(step[0]) > 0.1
    flat = restricted_step(np.array([0.0, 3.0]), np.array([0.0, 0.3]), 0.2)
    assert flat[0] == 0


def test_nothing_to_do_is_no_step():
    assert not restricted_step(np.array([0.0, -1e-3]), np.zeros(2), 0.2).any()


@pytest.mark.parametrize("update", [bfgs, bofill])
def test_updates_know_the_last_step(update):
    hessian, exact = symmetric(5, 1, shift=1.0), symmetric(5, 2, shift=1.0)
    (step,) = vectors(5, 1, 3)
    change = exact @ step
    new = update(hessian, step, change)
    assert new @ step == pytest.approx(change)
    assert new == pytest.approx(new.T)
    assert update(exact, step, change) == pytest.approx(exact)


def test_bfgs_keeps_curvatures_positive_and_learns_a_quadratic():
    exact, hessian = symmetric(4, 5, shift=0.5), np.eye(4)
    for step in vectors(4, 60, 6):
        hessian = bfgs(hessian, step, exact @ step)
        assert np.linalg.eigvalsh(hessian)[0] > 0
    assert hessian == pytest.approx(exact, rel=0.05, abs=0.05)


def test_bofill_finds_negative_curvature_which_bfgs_leaves_to_it():
    exact, hessian = np.diag([-3.0, 2.0, 4.0]), np.eye(3)
    step = np.array([1.0, 0.1, 0.0])
    change = exact @ step
    assert np.linalg.eigvalsh(bofill(hessian, step, change))[0] < 0
    assert bfgs(hessian, step, change) == pytest.approx(bofill(hessian, step, change))


def test_bofill_of_an_error_across_the_step_is_powells():
    hessian, step = np.eye(2), np.array([1.0, 0.0])
    change = np.array([1.0, 0.5])
    assert bofill(hessian, step, change) == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]))


def test_trust_grows_shrinks_and_refuses():
    trust = Trust(0.4, 0.01, 0.6)
    assert trust.after(0.1, 0.4).radius == 0.6
    assert trust.after(0.1, 0.1).radius == 0.4
    assert trust.after(0.5, 0.4).radius == 0.4
    assert trust.after(0.9, 0.2).radius == 0.05
    assert trust.after(9.0, 0.02).radius == 0.01
    assert trust.refuses(1.1, 0.4)
    assert not trust.refuses(1.1, 0.01)
    assert not trust.refuses(0.9, 0.4)


def test_a_shortest_step_is_not_refused_for_its_rounding():
    """Else a search with a bad Hessian repeats one step until its steps are used up."""
    assert not Trust(0.01, 0.01, 0.6).refuses(4.0, np.nextafter(0.01, 1.0))


def test_deviations_from_the_model():
    expected = np.array([-0.3, -0.1])
    assert deviation(-0.4, expected, both_ways=False) == pytest.approx(0)
    assert deviation(0.0, expected, both_ways=False) == pytest.approx(1)
    assert deviation(-0.8, expected, both_ways=False) == pytest.approx(-1)
    assert deviation(-0.8, expected, both_ways=True) == pytest.approx(1)
    assert deviation(0.1, np.array([0.3, -0.3]), both_ways=True) == pytest.approx(1 / 6)
    assert deviation(1.0, np.zeros(2), both_ways=True) == 0
