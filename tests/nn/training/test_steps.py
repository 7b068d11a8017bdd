"""Layers with both derivatives written out give what autograd gives."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.models.checkpoint import build
from matkit.nn.convolutional import ConvolutionalPotential
from matkit.nn.harmonics import harmonics, harmonics_tangent
from matkit.nn.irreps import spherical_harmonics
from matkit.nn.kernels.check import TOLERANCE
from matkit.nn.training import node_functions
from matkit.nn.training.node_functions import NodeFunction
from matkit.train.objective import LowRank

IRREPS = ["8x0e", "8x0e+6x1o+4x2e", "5x0e+4x1o+4x2e", "8x0e"]
GATES = [((0, 5), (0, 3), (1, 7)), ((0, 16),), ((0, 33), (1, 20), (2, 6))]
NETWORKS = {
    "facet": {"name": "facet"},
    "facet with a radial network": {"name": "facet", "radial_hidden": (7, 5)},
    "nequip": {"name": "nequip"},
    "nequip with one self-connection": {"name": "nequip", "self_connection": "linear"},
    "nequip with a core": {"name": "nequip", "core": 0.6},
}


def network(name="facet", **changes):
    """A small force field in float64 whose weights are all away from zero."""
    torch.manual_seed(0)
    settings = {"species": [1, 6, 8], "irreps": IRREPS, **NETWORKS.get(name, {"name": name})}
    model = build(settings.pop("name"), settings | changes).double()
    for parameter in model.parameters():
        if parameter.ndim < 2:  # norms begin at zero
            parameter.data = parameter + 0.5 * torch.randn_like(parameter)
    return force_field(model).train()


def batch(model, names=("CH3CH2OH", "H2O", "CH4")):
    rng = np.random.default_rng(0)
    frames = [molecule(name) for name in names]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    return model.featurize(from_ase(frames))


def loss(model, graph, forces=1.0):
    result = model(graph, ("energy", "forces"))
    rng = torch.Generator().manual_seed(1)
    energy = torch.randn(len(graph), generator=rng, dtype=torch.float64)
    push = torch.randn(result["forces"].shape, generator=rng, dtype=torch.float64)
    return (result["energy"] * energy).sum() + forces * (result["forces"] - push).square().sum()


def gradients(value, model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    value.backward(inputs=parameters)
    return [parameter.grad for parameter in parameters]


@pytest.fixture
def by_autograd(monkeypatch):
    """A function that turns the written-out derivatives off."""

    def switch():
        monkeypatch.setattr(ConvolutionalPotential, "_trained_layers", lambda *args: None)

    return switch


@pytest.fixture
def used(monkeypatch):
    """Whether the derivatives were written out, call by call."""
    found, original = [], ConvolutionalPotential._trained_layers

    def watched(*args):
        layers = original(*args)
        found.append(layers is not None)
        return layers

    monkeypatch.setattr(ConvolutionalPotential, "_trained_layers", watched)
    return found


def assert_equal(found, expected, tolerance=1e-10):
    for got, right in zip(found, expected, strict=True):
        assert torch.allclose(got, right, rtol=0, atol=tolerance * float(right.abs().max()) + 1e-12)


@pytest.mark.parametrize("forces", [0.0, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_a_loss_are_autograds(name, forces, used, by_autograd):
    model = network(name)
    graph = batch(model)
    found = gradients(loss(model, graph, forces), model)
    assert used[-1]
    by_autograd()
    assert_equal(found, gradients(loss(model, graph, forces), model))


def test_gradients_agree_with_finite_differences():
    model = network()
    graph, rng = batch(model, ("H2O",)), torch.Generator().manual_seed(0)
    found = gradients(loss(model, graph), model)
    directions = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in model.parameters()]
    slope = sum((a * b).sum() for a, b in zip(found, directions, strict=True))
    values = []
    for step in (-1e-5, 1e-5):
        for parameter, direction in zip(model.parameters(), directions, strict=True):
            parameter.data += step * direction
        values.append(float(loss(model, graph).detach()))
        for parameter, direction in zip(model.parameters(), directions, strict=True):
            parameter.data -= step * direction
    assert (values[1] - values[0]) / 2e-5 == pytest.approx(float(slope), rel=1e-6)


def test_a_second_pass_over_the_same_graph_gives_the_same():
    model = network()
    value = loss(model, batch(model))
    parameters = list(model.parameters())
    first, second = (torch.autograd.grad(value, parameters, retain_graph=True) for _ in range(2))
    assert_equal(first, second, 0)


def second_derivative(model, graph):
    positions = graph.positions.clone().requires_grad_()
    forces = model(graph.replace(positions=positions), ("forces",))["forces"]
    return torch.autograd.grad(forces[0, 0] * 2 + forces[3, 1], positions)


def test_second_derivatives_by_positions_are_autograds(by_autograd):
    model = network()
    graph = batch(model)
    found = second_derivative(model, graph)
    by_autograd()
    assert_equal(found, second_derivative(model, graph))


def third_derivative(model, graph):
    """Of a force constant by the weights."""
    positions = graph.positions.clone().requires_grad_()
    forces = model(graph.replace(positions=positions), ("forces",))["forces"]
    (row,) = torch.autograd.grad(forces[0, 0], positions, create_graph=True)
    return torch.autograd.grad(row.square().sum(), list(model.parameters()), allow_unused=True)


def test_third_derivatives_are_autograds(by_autograd):
    model = network()
    graph = batch(model)
    found = third_derivative(model, graph)
    by_autograd()
    pairs = zip(found, third_derivative(model, graph), strict=True)
    known = [(a, b) for a, b in pairs if b is not None and b.abs().max() > 0]
    assert len(known) > 20
    assert_equal(*zip(*known, strict=True))


def penalty(model, graph):
    """A loss of the energy's derivative by the weights."""
    energy = model(graph, ("energy",))["energy"].sum()
    parameters = list(model.parameters())
    first = torch.autograd.grad(energy, parameters, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), parameters)


def test_derivatives_of_derivatives_by_weights_are_autograds(by_autograd):
    model = network()
    graph = batch(model)
    found = penalty(model, graph)
    by_autograd()
    assert_equal(found, penalty(model, graph))


def low_rank(model, graph, wanted):
    torch.manual_seed(0)
    changes = LowRank(dict(model.named_parameters()), 2, 1.0).double()
    for parameter in changes.parameters():
        parameter.data = torch.randn_like(parameter)
    merged = {**dict(model.named_parameters()), **changes.merged(dict(model.named_parameters()))}
    result = torch.func.functional_call(model, merged, (graph, ("forces",)))
    return torch.autograd.grad(wanted(result["forces"]), list(changes.parameters()))


def test_low_rank_changes_get_their_gradients(by_autograd, used):
    model = network()
    graph = batch(model)

    def wanted(forces):
        return forces.square().sum()

    found = low_rank(model, graph, wanted)
    assert used[-1]
    by_autograd()
    assert_equal(found, low_rank(model, graph, wanted))


@pytest.mark.parametrize(
    "changes",
    [
        {"mixer": "grid", "grid_channels": 4},
        {"radial_basis": "spline"},
        {"species_scale": True},
    ],
)
def test_what_has_no_steps_is_left_to_autograd(changes, used):
    model = network("facet", **changes)
    gradients(loss(model, batch(model)), model)
    assert not any(used)


def test_inference_and_evaluation_do_without_steps(used):
    model = network()
    graph = batch(model)
    model.eval()(graph, ("energy", "forces"), True)
    with torch.no_grad():
        model.train()(graph, ("energy",), False)
    assert not any(used)


def test_atoms_without_neighbors_can_be_trained_alone(used):
    model = network("nequip")
    graph = batch(model, ("O",))
    assert not len(graph.center)
    value = model(graph, ("energy", "forces"))
    assert not any(used)
    assert not value["forces"].any()


@pytest.mark.parametrize("offset", [None, 0.3])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("irreps", GATES)
def test_kernels_of_gates_and_norms_agree_with_autograd(irreps, dtype, offset):
    assert node_functions.largest_error(NodeFunction(irreps, offset), dtype) < TOLERANCE[dtype]


@pytest.mark.parametrize("problem", ["wrong", "missing"])
def test_a_kernel_that_is_wrong_or_missing_is_not_used(monkeypatch, caplog, used, problem):
    def spoiled(*args):
        if problem == "missing":
            raise OSError("no compiler")
        return 1.0

    monkeypatch.setattr(node_functions, "largest_error", spoiled)
    node_functions._agrees.cache_clear()
    model = network()
    gradients(loss(model, batch(model)), model)
    node_functions._agrees.cache_clear()
    assert not any(used)
    assert {"wrong": "off by 1.0e+00", "missing": "no compiler"}[problem] in caplog.text


@pytest.mark.parametrize("lmax", [0, 1, 3])
def test_harmonics_change_as_forward_differences_say(lmax):
    rng = torch.Generator().manual_seed(0)
    vectors, changes = torch.randn(2, 21, 3, generator=rng, dtype=torch.float64)
    lengths, found = harmonics_tangent(vectors, changes, lmax, torch.float64)

    def plain(v):
        r = v.norm(dim=1)
        return r, spherical_harmonics(lmax, v / r.unsqueeze(1))

    expected = torch.autograd.functional.jvp(plain, vectors, changes)[1]
    assert torch.allclose(lengths, expected[0], rtol=0, atol=1e-13)
    assert torch.allclose(found, expected[1], rtol=0, atol=1e-12)
    assert torch.allclose(harmonics(vectors, lmax, torch.float64)[1], plain(vectors)[1])
