import numpy as np
import pytest
import torch

from matkit.devices import seed_generators
from matkit.errors import ConfigError
from matkit.train.gradients import GradientWatch, clip
from matkit.train.muon import Muon, orthogonalised
from matkit.train.optimizers import learning_rate, optimizers
from matkit.train.options import OptimizerOptions


@pytest.mark.parametrize(
    ("scheduler", "middle"), [("cosine", 0.505), ("linear", 0.505), ("constant", 1.0)]
)
def test_the_course_of_the_learning_rate(scheduler, middle):
    options = OptimizerOptions(lr=2.0, scheduler=scheduler, warmup=0.1, lr_end=0.01)
    assert learning_rate(0.05, options) == pytest.approx(1.0)
    assert learning_rate(0.1, options) == pytest.approx(2.0)
    assert learning_rate(0.55, options) == pytest.approx(2 * middle)
    assert learning_rate(1.0, options) == pytest.approx(2.0 if scheduler == "constant" else 0.02)
    values = [learning_rate(t, options) for t in np.linspace(0.1, 1, 50)]
    assert all(np.diff(values) <= 0)


def test_without_warm_up_it_starts_at_the_top():
    assert learning_rate(0.0, OptimizerOptions(lr=0.5, warmup=0)) == 0.5


def test_only_matrices_decay():
    parameters = [torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3))]
    (optimizer,) = optimizers(parameters, OptimizerOptions(weight_decay=0.5, lr=0.1))
    for p in parameters:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.allclose(parameters[0], torch.full((3, 3), 0.95))
    assert torch.equal(parameters[1], torch.ones(3))


def test_muon_takes_the_matrices():
    shapes = [(4, 3), (4,), (2, 3, 3)]
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    muon, adam = optimizers(parameters, OptimizerOptions(optimizer="muon"))
    assert [p.shape for g in muon.param_groups for p in g["params"]] == [(4, 3)]
    assert {p.shape for g in adam.param_groups for p in g["params"]} == {(4,), (2, 3, 3)}


def test_nothing_left_to_train():
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    with pytest.raises(ConfigError, match="No parameter is left"):
        optimizers([frozen], OptimizerOptions())


def test_muon_without_matrices():
    (adam,) = optimizers([torch.nn.Parameter(torch.ones(2))], OptimizerOptions(optimizer="muon"))
    assert isinstance(adam, torch.optim.AdamW)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon since 2.9")
def test_muon_is_that_of_torch():
    """Which rounds to bfloat16, in steps that all but cancel too: compared as torch rounds."""
    torch.manual_seed(0)
    shapes = [(6, 9), (9, 6), (6, 9), (5, 5)]
    mine = [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().float()) for p in mine]
    muon = Muon(mine, lr=0.1, weight_decay=0.2)
    other = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.float()
        muon.step()
        other.step()
        for p, q in zip(mine, theirs, strict=True):
            assert (p - q).abs().max() < 0.02
            assert (p - q).norm() < 0.01 * p.norm()


def test_orthogonalised_matrices_keep_their_singular_vectors():
    torch.manual_seed(0)
    x = torch.randn(3, 8, 5, dtype=torch.float64)
    y = orthogonalised(x)
    for a, b in zip(x, y, strict=True):
        u, _, v = torch.linalg.svd(a, full_matrices=False)
        inner = u.T @ b @ v.T
        assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-10
        assert ((inner.diagonal() > 0.5) & (inner.diagonal() < 1.5)).all()
    torch.testing.assert_close(orthogonalised(x.mT), y.mT)
    assert orthogonalised(torch.zeros(1, 2, 3)).abs().max() == 0


def test_muon_leaves_what_has_no_gradient():
    parameters = [torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2)]
    parameters[0].grad = torch.randn(2, 3)
    Muon(parameters, lr=0.1, weight_decay=0.5).step()
    assert torch.equal(parameters[1], torch.ones(2, 3))
    assert (parameters[0] != 1).all()


def test_gradients_are_clipped_as_torch_does():
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    gradients = [torch.randn(3), torch.randn(2, 2)]
    for limit in (0.1, 100.0, 0.0):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        assert clip(parameters, limit)
        mine = [p.grad.clone() for p in parameters]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        torch.nn.utils.clip_grad_norm_(parameters, limit or np.inf)
        for a, p in zip(mine, parameters, strict=True):
            assert torch.allclose(a, p.grad, rtol=1e-5)


def test_gradients_that_are_not_finite_are_told():
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, torch.inf])
    assert not clip([parameter], 1.0)


def test_parameters_without_gradient_are_found():
    module = torch.nn.ParameterDict({"used": torch.ones(2), "unused": torch.ones(2)})
    watch = GradientWatch(module)
    (module["used"] * 2 + module["unused"] * 0).sum().backward()
    watch.look()
    watch.judge()  # too early: what begins at zero passes nothing on at first
    for _ in range(9):
        watch.look()
    with pytest.raises(Exception, match="No gradient reached unused in any step"):
        watch.judge()


def test_seeding_gives_torchs_numbers_and_leaves_nothing_behind():
    before = len(torch.cuda._queued_calls)
    seed_generators(7, torch.device("cpu"))
    found = torch.rand(3)
    assert len(torch.cuda._queued_calls) == before
    torch.manual_seed(7)
    assert torch.equal(found, torch.rand(3))
