"""The convolution: both backends against brute force, e3nn, finite differences and each other."""

import logging
import multiprocessing
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import sqrt

import pytest
import torch
from e3nn import o3
from torch.autograd import gradcheck, gradgradcheck

from matkit.errors import ConfigError, StructureError
from matkit.graph import Graph
from matkit.nn.convolution import Convolution, autograd, compiler, fused, reference, threads
from matkit.nn.convolution.check import check, largest_error
from matkit.nn.irreps import format_irreps, parse_irreps, wigner_3j

F64 = torch.float64

# irreps, lmax, natural parity: natural and SO(3) lists to l = 3, odd scalars, channel counts that
# fill vectors, leave a rest, or are smaller than one.
CASES = [
    ("4x0e", 0, True),
    ("3x0e+2x1o", 1, True),
    ("17x0e+5x0o+8x1e+16x1o", 1, True),
    ("20x0e+16x1o+3x2e", 2, True),
    ("20x0e+16x1e+3x2e", 2, False),
    ("8x0e+4x1o+2x2e+9x3o", 3, True),
    ("8x0e+4x1e+2x2e+9x3e", 3, False),
]


def make_graph(atoms=7, edges=30, seed=0, isolated=2):
    """A random graph sorted by centre; the first and last `isolated` atoms have no edge."""
    generator = torch.Generator().manual_seed(seed)
    inner = (isolated // 2, atoms - (isolated + 1) // 2)
    ends = torch.randint(*inner, (2, edges), generator=generator) if edges else torch.zeros(2, 0)
    ends = ends.long()
    return Graph(
        positions=torch.randn(atoms, 3, dtype=F64, generator=generator),
        species=torch.ones(atoms, dtype=torch.long),
        cell=torch.zeros(1, 3, 3, dtype=F64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([atoms]),
        center=ends[0].sort().values,
        neighbor=ends[1],
        shift=torch.zeros(edges, 3, dtype=torch.long),
        cutoff=5.0,
    )


def make(case, backend="auto"):
    text, lmax, natural = case
    irreps = parse_irreps(text)
    return Convolution(irreps, lmax, irreps, natural, backend=backend)


def make_inputs(conv, graph, dtype=F64, seed=1):
    """Random x, Y, w and cotangent g."""
    generator = torch.Generator().manual_seed(seed)
    atoms, edges = len(graph.species), len(graph.center)

    def random(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator)

    x = tuple(random(atoms, i.dim, i.channels) for i in conv.irreps_in)
    g = tuple(random(atoms, i.dim, i.channels) for i in conv.irreps_out)
    return x, random(edges, (conv.lmax + 1) ** 2), random(edges, conv.weight_numel), g


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


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) if b.numel() else 0.0


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
        "from matkit.nn.convolution import Convolution\n"
        "Convolution((), 0, (), True, backend='fusd')"
    )  # in a process without the tests' type checker, which would refuse the name itself
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigError: Unknown backend 'fusd'. Did you mean 'fused'?" in done.stderr


@pytest.fixture
def restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_are_bitwise_equal_again_and_on_any_number_of_threads(restore_threads):
    graph, conv = make_graph(40, 600), make(CASES[6])
    x, y, w, g = make_inputs(conv, graph, torch.float32)
    edges, seen = fused.edges_of(graph), []
    for number in (1, 1, 2, 3):
        torch.set_num_threads(number)
        by = fused.gradients(conv.layout, (x, y, w), g, edges)
        out = fused.product(conv.layout, x, y, w, edges)
        seen.append([*out, *by.x, by.harmonics, by.weights])
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def run_once(number=2):
    """A product on several threads; also what child processes run."""
    torch.set_num_threads(number)
    graph, conv = make_graph(40, 600), make(CASES[3], "fused")
    x, y, w, _ = make_inputs(conv, graph)
    return conv(x, y, w, graph)[0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hang(restore_threads):
    expected = run_once()
    context = multiprocessing.get_context("fork")
    parent, child = context.Pipe(duplex=False)

    def work():
        # Autograd's own threads do not survive a fork either, so the kernels alone.
        graph, conv = make_graph(40, 600), make(CASES[3], "fused")
        x, y, w, _ = make_inputs(conv, graph)
        child.send(conv(x, y, w, graph)[0].tolist())

    process = context.Process(target=work)
    process.start()
    answered = parent.poll(60)
    if not answered:
        process.kill()
    process.join()
    assert answered
    assert parent.recv() == expected.tolist()


def test_python_threads_at_the_same_time(restore_threads):
    expected = run_once()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run_once(), range(40)))
    assert all(torch.equal(result, expected) for result in results)


def test_without_openmp(restore_threads, monkeypatch):
    expected = run_once()
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    assert torch.equal(run_once(), expected)


def test_compiled_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    fused.kernel_entry.cache_clear()
    expected = run_once()
    (file,) = (tmp_path / "kernels").iterdir()
    monkeypatch.setattr(compiler, "compile_object", pytest.fail)
    fused.kernel_entry.cache_clear()
    assert torch.equal(run_once(), expected)
    assert stat.S_ISREG(file.stat().st_mode)


def test_a_damaged_cache_file_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    fused.kernel_entry.cache_clear()
    expected = run_once()
    (file,) = (tmp_path / "kernels").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    fused.kernel_entry.cache_clear()
    assert torch.equal(run_once(), expected)
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path / "file"))
    fused.kernel_entry.cache_clear()
    with caplog.at_level(logging.WARNING):
        run_once()
    assert "not kept for the next run" in caplog.text


def test_a_wrong_kernel_is_not_used(monkeypatch, caplog):
    graph, conv = make_graph(), make(("5x0e+3x1o", 1, True))
    w = make_inputs(conv, graph)[2]
    right = fused.product
    monkeypatch.setattr(fused, "product", lambda *a: tuple(2 * part for part in right(*a)))
    check.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert conv.choose(w) == "reference"
    assert "is off by" in caplog.text
    check.cache_clear()


def test_a_compiler_that_fails_is_not_used(tmp_path, monkeypatch, caplog):
    graph, conv = make_graph(), make(("6x0e+3x1o", 1, True))
    x, y, w, _ = make_inputs(conv, graph)
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "compile_object", lambda _: 1 / 0)
    with caplog.at_level(logging.WARNING):
        out = conv(x, y, w, graph)
    assert "cannot be used" in caplog.text
    expected = reference.convolve(conv.layout, x, y, w, graph)
    assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))
    check.cache_clear()


def test_a_function_transform_uses_the_reference():
    graph, conv = make_graph(), make(CASES[1])
    x, y, w, _ = make_inputs(conv, graph)
    _, slope = torch.func.jvp(lambda w: conv(x, y, w, graph), (w,), (w,))
    assert relative(slope[0], conv(x, y, w, make_graph())[0]) < 1e-12


def test_layers_of_equal_layout_share_kernels():
    first, second = make(CASES[3]), make(CASES[3])
    assert first.layout == second.layout
    entry = fused.kernel_entry(first.layout, F64, "", False)
    assert fused.kernel_entry(second.layout, F64, "", False) == entry


def test_import_does_not_compile_or_print():
    code = "import matkit.nn.convolution, sys; assert 'numba' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_autograd_without_gradients_to_make():
    graph, conv = make_graph(), make(CASES[1])
    x, y, w, _ = make_inputs(conv, graph)
    out = autograd.convolve(conv.layout, x, y, w, fused.edges_of(graph))
    assert not out[0].requires_grad
