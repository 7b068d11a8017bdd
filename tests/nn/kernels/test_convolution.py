"""The convolution: both backends against brute force, e3nn, finite differences and each other."""

import subprocess
import sys
from math import sqrt

import pytest
import torch
from e3nn import o3
from torch.autograd import gradcheck, gradgradcheck

from matkit.errors import ConfigError, StructureError
from matkit.nn.irreps import format_irreps, parse_irreps, wigner_3j
from matkit.nn.kernels import Convolution, fused, reference
from matkit.nn.kernels.check import largest_error
from tests.nn.kernels.convolutions import CASES, F64, make, make_graph, make_inputs, relative


def brute_force(conv, x, y, w, graph):
    """One einsum per path and edge."""
    out = [torch.zeros(len(graph.species), i.dim, 0, dtype=y.dtype) for i in conv.irreps_out]
    begin = 0
    for path in conv.paths:
        l1, l3 = conv.irreps_in[path.source].l, conv.irreps_out[path.target].l
        symbol = sqrt(2 * l3 + 1) * wigner_3j(l1, path.l2, l3)
        part = torch.zeros(len(graph.species), 2 * l3 + 1, path.channels, dtype=y.dtype)
        ends = torch.stack([graph.center, graph.neighbor], dim=1).tolist()
        for e, (i, j) in enumerate(ends):
            harmonics = y[e, path.l2**2 : (path.l2 + 1) ** 2]
            weight = w[e, begin : begin + path.channels]
            part[i] += torch.einsum(
                "abc,au,b,u->cu", symbol.to(y), x[path.source][j], harmonics, weight
            )
        out[path.target] = torch.cat([out[path.target], part], dim=2)
        begin += path.channels
    return out


@pytest.mark.parametrize("case", CASES, ids=str)
class TestAgainstBruteForce:
    def test_product(self, case):
        conv, graph = make(case), make_graph()
        x, y, w, _ = make_inputs(conv, graph)
        expected = brute_force(conv, x, y, w, graph)
        for backend in ("reference", "fused"):
            for got, right in zip(make(case, backend)(x, y, w, graph), expected, strict=True):
                assert relative(got, right) < 1e-12

    @pytest.mark.parametrize("wanted", ["x", "y", "w", "xy", "xw", "yw", "xyw"])
    def test_gradients(self, case, wanted):
        conv, graph = make(case), make_graph()
        x, y, w, g = make_inputs(conv, graph)
        leaves = [part.requires_grad_() for part in (*x, y, w)]
        total = sum(
            (a * b).sum() for a, b in zip(brute_force(conv, x, y, w, graph), g, strict=True)
        )
        *by_x, by_y, by_w = torch.autograd.grad(total, leaves)
        edges = fused.edges_of(graph)
        found = fused.gradients(conv.layout, (x, y, w), g, edges, wanted)
        assert (found.x is not None) == ("x" in wanted)
        pairs = list(zip(found.x, by_x, strict=True)) if "x" in wanted else []
        pairs += [(found.harmonics, by_y)] if "y" in wanted else []
        pairs += [(found.weights, by_w)] if "w" in wanted else []
        assert max(relative(a, b) for a, b in pairs) < 1e-12


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_e3nn(case):
    conv, graph = make(case), make_graph()
    x, y, w, _ = make_inputs(conv, graph)
    harmonics = "+".join(
        f"1x{degree}{'o' if case[2] and degree % 2 else 'e'}" for degree in range(conv.lmax + 1)
    )
    outputs = [conv.irreps_out[path.target] for path in conv.paths]
    product = o3.TensorProduct(
        format_irreps(conv.irreps_in),
        harmonics,
        [(path.channels, (i.l, i.p)) for path, i in zip(conv.paths, outputs, strict=True)],
        [(path.source, path.l2, k, "uvu", True) for k, path in enumerate(conv.paths)],
        shared_weights=False,
        internal_weights=False,
    ).to(F64)
    flat = torch.cat([part.transpose(1, 2).flatten(1) for part in x], dim=1)
    messages = product(flat[graph.neighbor], y, w)
    summed = messages.new_zeros(len(flat), messages.shape[1]).index_add(0, graph.center, messages)
    widths = [path.channels * i.dim for path, i in zip(conv.paths, outputs, strict=True)]
    parts = torch.split(summed, widths, dim=1)
    for target, got in enumerate(conv(x, y, w, graph)):
        right = [
            part.unflatten(1, (path.channels, -1)).transpose(1, 2)
            for path, part in zip(conv.paths, parts, strict=True)
            if path.target == target
        ]
        assert relative(got, torch.cat(right, dim=2)) < 1e-6  # e3nn's 3j symbols are float32


@pytest.mark.parametrize("case", [CASES[1], ("2x0e+1x1e+1x2e", 2, False)], ids=str)
def test_derivatives_of_first_and_second_order(case):
    conv, graph = make(case, "fused"), make_graph(4, 5, isolated=1)
    x, y, w, _ = make_inputs(conv, graph)
    inputs = [part.requires_grad_() for part in (y, w, *x)]

    def function(y, w, *x):
        return conv(x, y, w, graph)

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_third_derivative_equals_the_reference():
    graph = make_graph(5, 8)
    found = []
    for backend in ("reference", "fused"):
        conv = make(CASES[1], backend)
        x, y, w, _ = make_inputs(conv, graph)
        leaves = [part.requires_grad_() for part in (*x, y, w)]
        value = sum((part**3).sum() for part in conv(x, y, w, graph))
        for _ in range(3):
            by = torch.autograd.grad(value, leaves, create_graph=True)
            value = sum((part**2).sum() for part in by)
        found.append(value.item())
    assert found[1] == pytest.approx(found[0], rel=1e-12)


@pytest.mark.parametrize("frozen", ["x", "y", "w"])
def test_only_the_wanted_derivatives_are_made(frozen):
    graph, conv = make_graph(), make(CASES[3], "fused")
    x, y, w, g = make_inputs(conv, graph)
    leaves = {"x": list(x), "y": [y], "w": [w]}
    del leaves[frozen]
    flat = [part.requires_grad_() for parts in leaves.values() for part in parts]
    got = torch.autograd.grad(conv(x, y, w, graph), flat, g, create_graph=True)
    right = torch.autograd.grad(make(CASES[3], "reference")(x, y, w, graph), flat, g)
    assert max(relative(a, b) for a, b in zip(got, right, strict=True)) < 1e-12
    # The second derivative of a function linear in each argument, by one of them alone.
    second = torch.autograd.grad(sum(part.sum() for part in got), flat[0], allow_unused=True)
    assert second[0] is not None


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    "text", ["128x0e+64x1e+32x2e", "128x0e+64x1e+32x2e+32x3e"], ids=["sevennet0", "l3i5"]
)
def test_backends_agree_at_full_size(text, dtype, bound):
    irreps = parse_irreps(text)
    conv = Convolution(irreps, irreps[-1].l, irreps, natural_parity=False)
    assert largest_error(conv.layout, dtype) < bound


@pytest.mark.parametrize(("atoms", "edges"), [(1, 0), (3, 0), (0, 0), (1, 4)])
def test_few_atoms_and_edges(atoms, edges):
    graph = make_graph(atoms, edges, isolated=0)
    conv = make(CASES[3], "fused")
    x, y, w, g = make_inputs(conv, graph)
    expected = make(CASES[3], "reference")(x, y, w, graph)
    for got, right in zip(conv(x, y, w, graph), expected, strict=True):
        assert got.shape == right.shape
        assert torch.allclose(got, right, rtol=1e-12, atol=1e-12)
    found = fused.gradients(conv.layout, (x, y, w), g, fused.edges_of(graph))
    assert found.weights.shape == w.shape
    assert edges or not any(part.any() for part in found.x)


def test_isolated_atoms_get_zero():
    graph, conv = make_graph(isolated=2), make(CASES[3], "fused")
    x, y, w, _ = make_inputs(conv, graph)
    for part in conv(x, y, w, graph):
        assert not part[0].any()
        assert not part[-1].any()


def test_an_atom_with_many_neighbors():
    graph = make_graph(4, 200, isolated=1)
    conv = make(CASES[4])
    x, y, w, _ = make_inputs(conv, graph)
    edges = fused.edges_of(graph)
    right = reference.convolve(conv.layout, x, y, w, graph)
    got = fused.product(conv.layout, x, y, w, edges)
    assert max(relative(a, b) for a, b in zip(got, right, strict=True)) < 1e-12


def test_transposed_edges_are_sorted_by_neighbor_and_stable():
    graph = make_graph()
    permutation, pointers = graph.transpose
    order = torch.stack([graph.neighbor[permutation], permutation], dim=1).tolist()
    assert order == sorted(order)
    count = torch.bincount(graph.neighbor, minlength=len(graph.species))
    assert torch.equal(torch.diff(pointers), count)


def test_inputs_that_are_not_contiguous():
    graph, conv = make_graph(), make(CASES[3], "fused")
    x, y, w, _ = make_inputs(conv, graph)
    strided = (
        tuple(part.transpose(1, 2).contiguous().transpose(1, 2) for part in x),
        y.T.contiguous().T,
        torch.cat([w, w], dim=1)[:, : w.shape[1]],
    )
    for a, b in zip(conv(x, y, w, graph), conv(*strided, graph), strict=True):
        assert torch.equal(a, b)


def test_unsorted_edges_are_refused():
    graph, conv = make_graph(), make(CASES[1], "fused")
    x, y, w, _ = make_inputs(conv, graph)
    with pytest.raises(StructureError, match="sorted by their centre"):
        conv(x, y, w, graph.replace(center=graph.center.flip(0)))


def test_edges_to_unknown_atoms_are_refused():
    graph, conv = make_graph(), make(CASES[1], "fused")
    x, y, w, _ = make_inputs(conv, graph)
    with pytest.raises(StructureError, match="atoms 0 to 6"):
        conv(x, y, w, graph.replace(neighbor=graph.neighbor + 99))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y, w: (x, y[:, :3].contiguous(), w), "harmonics"),
        (lambda x, y, w: (x, y, w[:-1]), "weights"),
        (lambda x, y, w: (tuple(part.float() for part in x), y, w), "float32"),
        (lambda x, y, w: (x, y, w.T.contiguous().T), "contiguous"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, match):
    graph, conv = make_graph(), make(CASES[3])
    x, y, w, _ = make_inputs(conv, graph)
    edges = fused.edges_of(graph)
    with pytest.raises(ConfigError, match=match):
        fused.product(conv.layout, *change(x, y, w), edges)


def test_unknown_backend():
    code = (
        "from matkit.nn.kernels import Convolution\n"
        "Convolution((), 0, (), True, backend='fusd')"
    )  # in a process without the tests' type checker, which would refuse the name itself
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigError: Unknown backend 'fusd'. Did you mean 'fused'?" in done.stderr


def test_a_pass_to_the_weights_derives_nothing_by_the_harmonics(monkeypatch):
    conv, graph = make(CASES[3], "fused"), make_graph()
    x, y, w, g = make_inputs(conv, graph)
    positions, parameter = (torch.ones((), dtype=F64, requires_grad=True) for _ in range(2))

    def loss():
        """One that depends on a force, as in training."""
        out = conv(x, y * positions, w * parameter, graph)
        energy = sum((a * b).square().sum() for a, b in zip(out, g, strict=True))
        return torch.autograd.grad(energy, positions, create_graph=True)[0].square()

    everything = torch.autograd.grad(loss(), (positions, parameter))[1]
    asked = []
    original = fused.gradients

    def recorded(layout, inputs, g, edges, wanted="xyw"):
        asked.append(wanted)
        return original(layout, inputs, g, edges, wanted)

    monkeypatch.setattr(fused, "gradients", recorded)
    value = loss()
    assert asked == ["y"]
    asked.clear()
    value.backward(inputs=[parameter])
    assert torch.equal(parameter.grad, everything)
    assert asked
    assert not any("y" in wanted or "x" in wanted for wanted in asked)
