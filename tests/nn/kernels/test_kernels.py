"""Compiled kernels: threads, processes, the cache on disk, and the way out when they fail."""

import logging
import multiprocessing
import os
import platform
import stat
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch

from matkit import cache
from matkit.nn.kernels import autograd, compiler, fused, reference, tangents, threads
from matkit.nn.kernels.check import TOLERANCE, check, largest_error, largest_error_of_tangents
from matkit.nn.kernels.codegen import generate
from matkit.nn.kernels.kernel import Kernel
from tests.nn.kernels.convolutions import CASES, F64, make, make_graph, make_inputs, relative


@pytest.fixture(autouse=True)
def restore_threads():
    """Give the tests after these the number of threads they had before: results depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_are_bitwise_equal_again_and_on_any_number_of_threads():
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
def test_a_forked_child_does_not_hang():
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


def test_python_threads_at_the_same_time():
    expected = run_once()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run_once(), range(40)))
    assert all(torch.equal(result, expected) for result in results)


def test_without_openmp(monkeypatch):
    expected = run_once()
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    assert torch.equal(run_once(), expected)


@pytest.mark.parametrize("kind", [("", ""), ("xyw", ""), ("xw", "xyw")])
def test_what_lies_between_two_branches_does_not_grow_with_the_number_of_paths(kind):
    # The compiler's time grows with its square.
    layout = make(("8x0e+8x1o+8x2e+8x3o+8x4e", 4, True)).layout
    lines = generate(Kernel(layout, "float", *kind)).splitlines()
    branches = [i for i, line in enumerate(lines) if line.startswith("  br ")]
    assert max(b - a for a, b in pairwise(branches)) < len(lines) / 10


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
    code = "import matkit.nn.kernels, sys; assert 'numba' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_autograd_without_gradients_to_make():
    graph, conv = make_graph(), make(CASES[1])
    x, y, w, _ = make_inputs(conv, graph)
    setting = autograd.Setting(fused, conv.layout, fused.edges_of(graph))
    out = autograd.convolve(setting, x, y, w)
    assert not out[0].requires_grad


@pytest.fixture
def lesser_processor(monkeypatch, request):
    """Pretend to be an older x86 processor: its name, its features, its vector registers."""
    name, features, unit = request.param
    cached = (compiler._machine, fused.kernel_entry, tangents._entry)
    monkeypatch.setattr(compiler.llvm, "get_host_cpu_name", lambda: name)
    monkeypatch.setattr(compiler, "_features", lambda: features)
    monkeypatch.setattr(compiler, "vector_unit", lambda: unit)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="pretends to be another x86-64")
@pytest.mark.parametrize(
    "lesser_processor",
    [("haswell", "+avx2,+fma", (32, 16)), ("x86-64", "", (16, 16))],
    indirect=True,
    ids=["AVX2", "SSE2"],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_kernels_for_processors_without_avx_512(lesser_processor, case, dtype):
    assert largest_error(make(case).layout, dtype) < TOLERANCE[dtype]
    if case == CASES[3]:
        assert largest_error_of_tangents(make(case).layout, dtype) < TOLERANCE[dtype]


@pytest.mark.parametrize("case", CASES[1:3], ids=lambda case: case[0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_changes_of_the_product_and_their_derivatives_agree_with_the_reference(case, dtype):
    assert largest_error_of_tangents(make(case).layout, dtype) < TOLERANCE[dtype]


def test_wrong_changes_are_found(monkeypatch):
    right = tangents.change
    monkeypatch.setattr(
        tangents, "change", lambda *args: tuple(1.01 * part for part in right(*args))
    )
    assert largest_error_of_tangents(make(CASES[1]).layout, F64) > 1e-3


@pytest.mark.parametrize("place", ["", "kernels"])
def test_code_that_others_could_have_written_is_not_run(tmp_path, monkeypatch, caplog, place):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    cache._warn.cache_clear()
    fused.kernel_entry.cache_clear()
    expected = run_once()
    (tmp_path / place).chmod(0o777)
    read = []
    monkeypatch.setattr(compiler, "_read", read.append)
    fused.kernel_entry.cache_clear()
    assert torch.equal(run_once(), expected)
    assert not read
    assert "is not used" in caplog.text


def test_a_file_of_another_user_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    fused.kernel_entry.cache_clear()
    run_once()
    (file,) = (tmp_path / "kernels").iterdir()
    file.chmod(0o666)
    assert compiler._read(file) is None


def test_without_a_cache_kernels_are_compiled(monkeypatch):
    expected = run_once()
    monkeypatch.setattr(compiler, "cache_folder", lambda: None)
    fused.kernel_entry.cache_clear()
    assert torch.equal(run_once(), expected)


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="an ELF file")
def test_code_reaches_its_constants_at_any_distance():
    """The process ended where a library had been mapped between both."""
    code = compiler.compile_object(
        "define double @entry(double %x) nounwind {\n  %y = fmul double %x, 0x3FF3BE76C8B43958\n"
        "  ret double %y\n}\n"
    )
    sections = compiler.llvm.ObjectFileRef.from_data(code).sections()
    tables = [section.data() for section in sections if b".rela" in (section.name() or b"")]
    kinds = {kind for table in tables for _, kind, _, _ in struct.iter_unpack("<QIIq", table)}
    assert kinds == {1}  # R_X86_64_64, an address of 64 bits; relative ones have 32
