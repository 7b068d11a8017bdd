"""The compiled contraction against plain torch."""

import logging

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from matkit.errors import ConfigError, StructureError
from matkit.nn import contraction as module
from matkit.nn.frozen.contraction import FrozenContraction
from matkit.nn.kernels.contraction import autograd, check, compiled, polynomial, reference
from matkit.nn.kernels.contraction.kernel import ContractionKernel
from matkit.nn.kernels.contraction.nesting import nests
from matkit.nn.kernels.contraction.polynomial import Operands
from matkit.nn.species_rows import ATOMS, species_rows
from tests.nn.kernels.contractions import contraction, random_input

TOLERANCE = {"float": 1e-5, "double": 1e-13}
VARIABLES = [(variable, tangent) for variable in "gxc" for tangent in (False, True)]


def difference(a, b):
    return max(
        float((p - q).detach().abs().max() / q.detach().abs().max().clamp(min=1))
        for p, q in zip(a, b, strict=True)
    )


def close(a, b, tolerance=1e-12):
    return difference(a, b) < tolerance


@pytest.mark.parametrize(("scalar", "vector_bytes"), [("float", 32), ("double", 64)])
@pytest.mark.parametrize(("variable", "tangent"), VARIABLES)
def test_kernels_agree_with_plain_torch(variable, tangent, vector_bytes, scalar):
    """With whole vectors of channels and a smaller one; both sizes of vectors can be run."""
    layout = contraction(lmax=2, top=1, channels=19).layout
    kernel = ContractionKernel(layout, scalar, variable, tangent, vector_bytes)
    assert check.largest_error(kernel) < TOLERANCE[scalar]


@pytest.mark.parametrize(
    ("lmax", "top", "correlation", "channels"),
    [(0, 0, 3, 1), (1, 1, 1, 8), (2, 2, 2, 5), (3, 0, 3, 16)],
)
def test_layers_of_any_size_agree_with_the_reference(lmax, top, correlation, channels):
    layer = contraction(lmax, top, correlation, channels)
    x, index = random_input(layer)
    expected = reference.contract(layer.layout, x, layer.path_weights(), index)
    assert close(layer(x, index), expected)


def test_no_atoms_one_atom_and_more_than_a_row_of_atoms():
    layer = contraction()
    for atoms in (0, 1, 3 * ATOMS + 7):
        x, index = random_input(layer, atoms)
        expected = reference.contract(layer.layout, x, layer.path_weights(), index)
        assert [part.shape for part in layer(x, index)] == [part.shape for part in expected]
        assert atoms == 0 or close(layer(x, index), expected)


def test_derivatives_of_every_order_are_right():
    layer = contraction()
    x, index = random_input(layer)
    weights = [weight.detach() for weight in layer.path_weights()]
    leaves = [part.requires_grad_() for part in (*x, *weights)]

    def derivatives(contract):
        x, weights = tuple(leaves[:3]), tuple(leaves[3:])
        found, scalar = [], square(contract(layer.layout, x, weights, index))
        for _ in range(4):
            by = torch.autograd.grad(scalar, leaves, create_graph=True)
            found += by
            scalar = square(by) / float(square(by).detach())
        return found

    for a, b in zip(derivatives(autograd.contract), derivatives(reference.contract), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11 * float(b.detach().abs().max()))


def square(parts):
    return torch.stack([part.square().sum() for part in parts]).sum()


def test_derivatives_agree_with_finite_differences():
    layer = contraction(lmax=1, top=1, channels=1, n_species=1)
    x, index = random_input(layer, atoms=1)
    weights = [weight.detach() for weight in layer.path_weights()]
    leaves = [part.requires_grad_() for part in (*x, *weights)]

    def contract(*args):
        return autograd.contract(layer.layout, args[:2], args[2:], index)

    assert gradcheck(contract, leaves)
    assert gradgradcheck(contract, leaves)


def test_gradients_reach_the_weights_of_species_that_occur_only():
    layer = contraction(n_species=5)
    x, _ = random_input(layer)
    square(layer(x, torch.tensor([3, 1, 1, 3, 3]))).backward()
    for weight in layer.parameters():
        assert weight.grad.abs().amax(dim=(1, 2)).gt(0).tolist() == [
            False,
            True,
            False,
            True,
            False,
        ]


def test_a_force_is_trained_through_the_kernels_alone(monkeypatch):
    """Plain torch is for third derivatives only."""
    layer = contraction()
    x, index = random_input(layer)
    x = tuple(part.requires_grad_() for part in x)

    def step():
        by_x = torch.autograd.grad(square(layer(x, index)), x, create_graph=True)
        square(by_x).backward()

    step()  # here kernels are compared with plain torch
    monkeypatch.setattr(polynomial, "derivative", None)
    step()


def kernel(layer, variable="g"):
    return compiled.kernel_for(layer.layout, torch.float64, variable)


def test_transforms_of_torch_func_see_through():
    layer = contraction(channels=2)
    x, index = random_input(layer, atoms=2)

    def scalar(first):
        return square(layer((first, *x[1:]), index))

    first = x[0].requires_grad_()
    expected = torch.autograd.grad(scalar(first), first)
    assert close([torch.func.grad(scalar)(first.detach())], expected)


def test_any_number_of_threads_gives_the_same():
    layer = contraction(channels=40)
    x, index = random_input(layer, 3 * ATOMS)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            layer.zero_grad()
            leaves = tuple(part.detach().requires_grad_() for part in x)
            out = layer(leaves, index)
            square(out).backward()
            results.append([*out, *(t.grad for t in (*leaves, *layer.parameters()))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("place", "name", "broken", "message"),
    [
        (check, "largest_error", lambda kernel: 1.0, "off by 1.0e+00"),
        (compiled, "kernel_entry", lambda kernel: 1 / 0, "cannot be used"),
    ],
)
def test_a_kernel_that_is_wrong_or_missing_is_not_used(
    monkeypatch, caplog, place, name, broken, message
):
    layer = contraction()
    x, index = random_input(layer)
    leaves = [*(part.requires_grad_() for part in x), *layer.parameters()]

    def derivatives(contract):
        out = contract(layer.layout, x, layer.path_weights(), index)
        by_x = torch.autograd.grad(square(out), x, create_graph=True)
        return *out, *torch.autograd.grad(square(by_x), leaves)

    expected = derivatives(reference.contract)
    monkeypatch.setattr(check, "agrees", check.agrees.__wrapped__)
    monkeypatch.setattr(place, name, broken)
    with caplog.at_level(logging.WARNING):
        found = derivatives(autograd.contract)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11 * float(b.detach().abs().max()))
    assert message in caplog.text


def test_operands_that_compiled_code_would_misread_are_refused():
    layer = contraction()
    x, index = random_input(layer)
    rows, c = species_rows(index, 3), torch.zeros(3, 1, 1, 1, dtype=torch.float64)
    with pytest.raises(ConfigError, match="Expected `c`"):
        compiled.derivative(kernel(layer), Operands(c, x), rows)
    with pytest.raises(ConfigError, match=r"Expected `x\[0\]`"):
        compiled.derivative(kernel(layer), Operands(c, x[::-1]), rows)
    with pytest.raises(ConfigError, match=r"Expected `g\[0\]`"):
        compiled.derivative(kernel(layer, "x"), Operands(c, x, x[1::-1]), rows)
    changing = kernel(layer)._replace(tangent=True)
    with pytest.raises(ConfigError, match=r"Expected `h\[0\]`"):
        compiled.derivative(changing, Operands(c, x, (), x[::-1]), rows)


def test_a_kernel_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.compiler, "cache_folder", lambda: tmp_path)
    one = kernel(contraction(lmax=1, channels=7))
    compiled.kernel_entry.__wrapped__(one)
    assert len(list(tmp_path.rglob("*.o"))) == 1
    monkeypatch.setattr(compiled, "generate", None)
    assert compiled.kernel_entry.__wrapped__(one)


def test_coefficients_are_as_many_as_monomials():
    """Of 16 components, three at a time; most of the 968 monomials of each component vanish."""
    layout = contraction(lmax=3, top=2).layout
    assert [len(nest.matrix) for nest in nests(layout)] == [94, 316, 477]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_frozen_layer_agrees(dtype):
    layer = contraction(n_species=5).to(dtype)
    x, _ = random_input(layer)
    index = torch.tensor([4, 1, 1, 4, 4])
    leaves = tuple(part.requires_grad_() for part in x)
    out = layer(leaves, index)
    by_x = torch.autograd.grad(square(out), leaves)
    frozen = FrozenContraction.of(layer)
    with torch.no_grad():
        g = tuple(2 * part for part in out)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-2 if dtype == torch.bfloat16 else 1e-5
        assert close(frozen.forward(x, index), out, tolerance)
        assert close(frozen.backward(x, g, index), by_x, tolerance)


def test_the_frozen_layer_knows_only_the_species_it_met():
    layer = contraction(n_species=89)
    x, index = random_input(layer)
    frozen = FrozenContraction.of(layer)
    frozen.forward(x, index % 2 + 40)
    frozen.forward(x, torch.full_like(index, 7))
    assert frozen.known == {7, *(index % 2 + 40).tolist()}


@pytest.mark.parametrize("wrong", [-1, 3])
def test_species_without_weights_are_refused(wrong):
    layer = contraction(n_species=3)
    x, index = random_input(layer)
    index[0] = wrong
    for contract in (layer, FrozenContraction.of(layer).forward):
        with pytest.raises(StructureError, match="indices of species from 0 to 2"):
            contract(x, index)


def test_half_precision_runs_in_plain_torch():
    layer = contraction().bfloat16()
    x, index = random_input(layer)
    assert not module.can_compile(x[0])
    assert layer(x, index)[0].dtype == torch.bfloat16
