"""The Triton kernels on the CPU, through Triton's interpreter, against the reference."""

import copy
import logging
import subprocess
import sys
from math import exp, inf, log

import pytest
import torch
from ase import Atoms
from torch.autograd import gradcheck, gradgradcheck

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError, MissingExtraError
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.neighbors.padding import pad
from matkit.nn.harmonics import harmonics, harmonics_gradient
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import (
    Convolution,
    backends,
    check,
    fused,
    triton_backend,
    triton_harmonics,
    triton_loader,
)
from matkit.nn.kernels.backends import kernels_for, name_for
from matkit.nn.kernels.check import TOLERANCE, largest_error
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.spline import SPLINES
from matkit.nn.kernels.triton_source import EDGES, Source
from matkit.nn.kernels.triton_writer import generate
from tests.nn.kernels.convolutions import CASES, F64, make, make_graph, make_inputs, relative
from tests.potentials.test_nequip import TINY

triton = pytest.importorskip("triton")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def small_graph():
    """Few edges, as the interpreter is slow: isolated atoms, one with more than four edges."""
    return make_graph(4, 9, isolated=2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_product_and_gradients_are_the_references(case):
    conv, graph = make(case), small_graph()
    x, y, w, g = make_inputs(conv, graph)
    assert torch.bincount(graph.center).max() > EDGES
    leaves = [part.requires_grad_() for part in (*x, y, w)]
    out = make(case, "reference")(x, y, w, graph)
    by = torch.autograd.grad(out, leaves, g)
    with torch.no_grad():
        edges = fused.edges_of(graph)
        got = triton_backend.product(conv.layout, x, y, w, edges)
        assert all(relative(a, b) < 1e-12 for a, b in zip(got, out, strict=True))
        expected = fused.Gradients(by[:-2], *by[-2:])
        assert_same(triton_backend.gradients(conv.layout, (x, y, w), g, edges), expected)


def test_single_precision():
    assert largest_error(make(CASES[1]).layout, torch.float32, "triton") < TOLERANCE[torch.float32]


@pytest.mark.parametrize("wanted", ["x", "y", "w", "xy", "xw", "yw", "xyw"])
def test_only_the_wanted_gradients_are_made(wanted):
    conv, graph = make(CASES[1]), small_graph()
    x, y, w, g = make_inputs(conv, graph)
    arguments = (conv.layout, (x, y, w), g, fused.edges_of(graph), wanted)
    assert_same(triton_backend.gradients(*arguments), fused.gradients(*arguments))


def test_derivatives_of_first_and_second_order():
    conv, graph = make(("1x1e", 1, False), "triton"), make_graph(2, 2, isolated=0)
    x, y, w, _ = make_inputs(conv, graph)
    inputs = [part.requires_grad_() for part in (y, w, *x)]

    def function(y, w, *x):
        return conv(x, y, w, graph)

    assert gradcheck(function, inputs, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize(("atoms", "edges"), [(1, 0), (3, 0), (0, 0), (1, 4)])
def test_few_atoms_and_edges(atoms, edges):
    graph, conv = make_graph(atoms, edges, isolated=0), make(CASES[1], "triton")
    x, y, w, g = make_inputs(conv, graph)
    expected = make(CASES[1], "reference")(x, y, w, graph)
    for got, right in zip(conv(x, y, w, graph), expected, strict=True):
        assert got.shape == right.shape
        assert torch.allclose(got, right, rtol=1e-12, atol=1e-12)
    arguments = (conv.layout, (x, y, w), g, fused.edges_of(graph))
    assert_same(triton_backend.gradients(*arguments), fused.gradients(*arguments))


def test_isolated_atoms_get_zero():
    graph, conv = make_graph(4, 8, isolated=2), make(CASES[1], "triton")
    x, y, w, _ = make_inputs(conv, graph)
    for part in conv(x, y, w, graph):
        assert not part[0].any()
        assert not part[-1].any()


def test_an_irrep_that_no_path_uses():
    irreps = parse_irreps("4x0e+2x1o")
    conv = Convolution(irreps, 0, parse_irreps("4x0e"), True)
    assert {path.source for path in conv.paths} == {0}
    graph = small_graph()
    x, y, w, g = make_inputs(conv, graph)
    found = triton_backend.gradients(conv.layout, (x, y, w), g, fused.edges_of(graph))
    assert found.x[0].any()
    assert not found.x[1].any()


def test_edges_in_no_row_count_nothing():
    graph, conv = small_graph(), make(CASES[1])
    x, y, w, g = make_inputs(conv, graph)
    edges = fused.edges_of(graph)
    longer = edges._replace(
        **{
            name: torch.cat([getattr(edges, name), torch.zeros(5, dtype=torch.long)])
            for name in ("center", "neighbor", "transpose")
        }
    )
    padded = [torch.cat([part, torch.full_like(part[:5], torch.nan)]) for part in (y, w)]
    out = triton_backend.product(conv.layout, x, *padded, longer)
    expected = fused.product(conv.layout, x, y, w, edges)
    assert all(relative(a, b) < 1e-12 for a, b in zip(out, expected, strict=True))
    found = triton_backend.gradients(conv.layout, (x, *padded), g, longer)
    assert not found.harmonics[-5:].any()
    assert not found.weights[-5:].any()
    cut = found._replace(harmonics=found.harmonics[:-5], weights=found.weights[:-5])
    assert_same(cut, fused.gradients(conv.layout, (x, y, w), g, edges))


def table_of(conv, edges, dtype, low=0.5, knots=40, high=5.0):
    """A table of random numbers, and lengths: at and between knots."""
    generator = torch.Generator().manual_seed(3)
    shape = (knots, SPLINES[SCALARS[dtype]].rows, conv.weight_numel)
    rows = torch.randn(shape, dtype=dtype, generator=generator)
    step = log(high / low) / (knots - 1)
    grid = torch.tensor([log(low), 1 / step, knots - 2], dtype=F64)
    lengths = low + (high - low) * torch.rand(edges, dtype=F64, generator=generator)
    lengths[:2] = torch.tensor([low, low * exp(step)])
    return fused.TableWeights(rows, grid, lengths)


@pytest.mark.parametrize(
    ("case", "wanted", "dtype", "bound"),
    [
        (CASES[4], "xyw", F64, 1e-12),
        (CASES[1], "yw", F64, 1e-12),
        (CASES[1], "xyw", torch.float32, 1e-5),
    ],
)
def test_weights_from_a_table(case, wanted, dtype, bound):
    graph, conv = small_graph(), make(case)
    x, y, _, g = make_inputs(conv, graph, dtype)
    edges, weights = fused.edges_of(graph), table_of(conv, len(y), dtype)
    out = triton_backend.product(conv.layout, x, y, weights, edges)
    expected = fused.product(conv.layout, x, y, weights, edges)
    assert all(relative(a, b) < bound for a, b in zip(out, expected, strict=True))
    arguments = (conv.layout, (x, y, weights), g, edges, wanted)
    assert_same(triton_backend.gradients(*arguments), fused.gradients(*arguments), bound)


def test_edges_beyond_the_table_weigh_exactly_nothing():
    graph, conv = small_graph(), make(CASES[1])
    x, y, _, g = make_inputs(conv, graph)
    edges, weights = fused.edges_of(graph), table_of(conv, len(y), F64)
    weights.lengths[::2] = torch.linspace(5.001, 9.0, len(weights.lengths[::2]), dtype=F64)
    kept = torch.arange(len(y)) % 2 == 1
    fewer = graph.keep_edges(kept)
    cut = (weights._replace(lengths=weights.lengths[kept]), fused.edges_of(fewer))
    out = triton_backend.product(conv.layout, x, y, weights, edges)
    expected = fused.product(conv.layout, x, y[kept], *cut)
    assert all(relative(a, b) < 1e-12 for a, b in zip(out, expected, strict=True))
    found = triton_backend.gradients(conv.layout, (x, y, weights), g, edges)
    assert not found.harmonics[~kept].any()
    assert not found.weights[~kept].any()


@pytest.mark.parametrize("length", [torch.nan, 0.45, 0.0])
def test_a_length_that_the_table_cannot_know_shows(length):
    graph, conv = small_graph(), make(CASES[1])
    x, y, _, _ = make_inputs(conv, graph)
    weights = table_of(conv, len(y), F64)
    weights.lengths[5] = length
    out = triton_backend.product(conv.layout, x, y, weights, fused.edges_of(graph))
    assert out[0][graph.center[5]].isnan().any()


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Compile a kernel for an H100 that is not here."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def run(text, types, warps):
        return triton.compile(
            triton.compiler.ASTSource(
                triton_loader.function(text, "kernel", torch.device("cuda")), types
            ),
            target=triton.backends.compiler.GPUTarget("cuda", 90, 32),
            options={"num_warps": warps},
        ).asm

    return run


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("scalar", ["fp32", "fp64"])
def test_kernels_compile_for_a_gpu_that_is_not_here(scalar, table, compiled):
    kinds = {"start": "*i64", "order": "*i64", "other": "*i64", "length": "*fp64", "grid": "*fp64"}
    name = {"fp32": "float", "fp64": "double"}[scalar]
    for wanted in ("", "xyw"):
        source = Source(make(CASES[1]).layout, name, wanted, table)
        types = {argument: kinds.get(argument, f"*{scalar}") for argument in source.arguments}
        code = compiled(generate(source), types, 1)
        assert code["cubin"]
        assert "bar.sync" not in code["ptx"]  # one warp: sums need no barrier
        # Coefficients (1 / √3) are not rounded to single precision.
        assert ("0.57735026918962" in code["ttir"]) == (scalar == "fp64")


def test_harmonics_compile_for_a_gpu_that_is_not_here(compiled):
    names = ("vectors", "lengths", "values")
    types = dict(zip(names, ("*fp64", "*fp64", "*fp32"), strict=True)) | {"count": "i32"}
    assert compiled(triton_harmonics._forward(2, "tl.float32", 5.0), types, 4)["cubin"]
    names = ("vectors", "by_length", "by_harmonics", "found")
    types = dict.fromkeys(names, "*fp64") | {"by_harmonics": "*fp32", "count": "i32"}
    assert compiled(triton_harmonics._backward(2, 5.0), types, 4)["cubin"]


def test_without_gpu_or_interpreter_it_is_refused(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    graph, conv = small_graph(), make(CASES[1], "triton")
    x, y, w, _ = make_inputs(conv, graph)
    with pytest.raises(ConfigError, match="on a GPU for the triton backend, got them on cpu"):
        conv(x, y, w, graph)


def test_without_triton_it_is_refused(monkeypatch, caplog):
    monkeypatch.setattr(triton_loader, "installed", lambda: False)
    backends._say_that_triton_is_missing.cache_clear()
    graph, conv = small_graph(), make(CASES[1], "triton")
    x, y, w, _ = make_inputs(conv, graph)
    with caplog.at_level(logging.WARNING):
        assert name_for(torch.device("cuda")) is name_for(torch.device("cuda")) is None
    assert caplog.text.count("Triton is not installed") == 1
    with pytest.raises(MissingExtraError, match="pip install triton"):
        conv(x, y, w, graph)


def test_a_wrong_kernel_is_not_used(monkeypatch, caplog):
    right = triton_backend.product
    monkeypatch.setattr(triton_backend, "product", lambda *a: tuple(2 * p for p in right(*a)))
    check.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not check(make(CASES[1]).layout, F64, "triton", "cpu")
    assert "The triton convolution is off by" in caplog.text
    check.cache_clear()


def test_kernels_belong_to_devices():
    assert name_for(CPU) == "fused"
    assert kernels_for(CPU) is fused
    assert name_for(torch.device("cuda")) == "triton"
    assert kernels_for(torch.device("cuda")) is triton_backend
    assert name_for(torch.device("meta")) is None


def test_wrong_operands_are_refused():
    graph, conv = small_graph(), make(CASES[1])
    x, y, w, _ = make_inputs(conv, graph)
    with pytest.raises(ConfigError, match="weights"):
        triton_backend.product(conv.layout, x, y, w[:-1], fused.edges_of(graph))


def test_matkit_does_not_import_triton():
    code = "import matkit, matkit.potentials.nequip, sys; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.slow
def test_a_whole_network(monkeypatch, caplog, dtype, bound):
    """The written-out derivative of NequIP, with padding, on the kernels of the GPU."""
    torch.manual_seed(0)
    switches = {"irreps": ["4x0e", "4x0e+2x1o", "4x0e"], "lmax": 1}
    model = Conservative(checkpoint.build("nequip", TINY | switches)).to(dtype).eval()
    graph = radius_graph(from_ase(Atoms("OH", [[0, 0, 0], [0.5, 0.6, 0.7]])), model.cutoff)
    expected = model(graph)
    duplicate = copy.deepcopy(model)
    monkeypatch.setattr(backends, "name_for", lambda device: "triton")
    for longer in (graph, pad(graph.replace(cutoff=model.cutoff + 0.5))):
        with caplog.at_level(logging.WARNING):
            found = duplicate(longer)
        assert duplicate.network._frozen[1]
        assert not caplog.text
        for key in ("energy", "forces"):
            assert torch.allclose(found[key], expected[key], rtol=0, atol=bound), key


def test_harmonics():
    vectors = torch.randn(200, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    for lmax, dtype, reach in ((0, F64, inf), (3, F64, 1.5), (2, torch.float32, inf)):
        lengths, values = harmonics(vectors, lmax, dtype, reach)
        ours = triton_harmonics.harmonics(vectors, lmax, dtype, reach)
        bound = 1e-12 if dtype == F64 else 1e-6
        assert relative(ours[0], lengths) < 1e-14
        assert relative(ours[1], values) < bound
        assert torch.equal(ours[1] == 0, values == 0)
        by = torch.randn_like(lengths), torch.randn_like(values)
        right = harmonics_gradient(vectors, *by, reach)
        got = triton_harmonics.harmonics_gradient(vectors, *by, reach)
        assert relative(got, right) < bound
        assert torch.equal(got == 0, right == 0)


def assert_same(got, expected, bound=1e-12):
    """Compare derivatives; those of one backend are there where those of the other are."""
    assert (got.x is None) == (expected.x is None)
    pairs = [] if got.x is None else list(zip(got.x, expected.x, strict=True))
    pairs += [(got.harmonics, expected.harmonics), (got.weights, expected.weights)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        assert a is None or (a.shape == b.shape and relative(a, b) < bound)
