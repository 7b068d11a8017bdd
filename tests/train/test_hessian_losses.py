import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.data.dataset import Dataset
from matkit.data.labels import LabelCount, LabelReport
from matkit.derivatives import Conservative
from matkit.errors import DataError
from matkit.hessians.modes import normal_modes
from matkit.hessians.potentials import autograd_hessian
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.nn.scatter import scatter_sum
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures, cat
from matkit.train.hessian_losses import hessian_losses, hessian_sums
from matkit.train.hessian_sets import add_hessians
from matkit.train.hessian_targets import (
    MODES,
    SOFT,
    has_hessian,
    of_one_width,
    soft_modes,
    with_hessians,
    zero_point_slope,
)
from matkit.train.options import LossOptions


class Bent(Potential):
    """Springs, and ``k w_ij w_ik (cos θ_jik + 1/3)²`` for all angles, with smooth weights w."""

    def __init__(self) -> None:
        super().__init__()
        self.cutoff, self.species = 3.0, (1, 8)
        self.constant = torch.nn.Parameter(torch.tensor(6.0, dtype=torch.float64))

    def forward(self, graph):
        vectors, n_atoms = graph.vectors, len(graph.species)
        lengths = vectors.norm(dim=1)
        weight = (1 - (lengths / self.cutoff) ** 2) ** 3
        springs = weight * ((lengths - 1.1) ** 2 - 0.3) / 2
        a, b = torch.nonzero((graph.center[:, None] == graph.center).triu(1), as_tuple=True)
        cosine = (vectors[a] * vectors[b]).sum(1) / (lengths[a] * lengths[b])
        angles = weight[a] * weight[b] * (cosine + 1 / 3) ** 2
        energy = scatter_sum(springs, graph.center, n_atoms)
        energy = energy + scatter_sum(angles, graph.center[a], n_atoms)
        return {"atom_energy": self.constant * energy}


def rattled(name: str, seed: int) -> Structures:
    atoms = molecule(name)
    atoms.rattle(0.08, seed=seed)
    return from_ase(atoms)


def molecules() -> tuple[Structures, list[torch.Tensor]]:
    """Unequal molecules, one of two atoms, and the Hessians of three-body forces."""
    names = ("H2O", "H2O2", "O2", "O3", "H2O2")
    parts = [rattled(name, seed) for seed, name in enumerate(names)]
    toy = Conservative(Bent())
    return cat(parts), [autograd_hessian(toy, part) for part in parts]


def as_blocks(structures: Structures, matrices: list[torch.Tensor]) -> PairBlocks:
    """The prediction of a network that knows the matrices [3n, 3n]."""
    pairs = radius_graph(structures, 10.0)
    whole = torch.block_diag(*matrices).unflatten(1, (-1, 3)).unflatten(0, (-1, 3)) / 2
    atoms = torch.arange(len(structures.species))
    return PairBlocks(
        pairs=pairs,
        diagonal=whole.transpose(1, 2)[atoms, atoms],
        off=whole.transpose(1, 2)[pairs.center, pairs.neighbor],
    )


def test_the_truth_has_no_loss():
    structures, targets = molecules()
    losses = hessian_losses(
        as_blocks(structures, targets), with_hessians(structures, targets, True)
    )
    assert losses.keys() == {"hessian", "hessian_modes"}
    assert all(values.shape == (5,) and values.max() < 1e-12 for values in losses.values())


def test_losses_are_means_over_the_entries_of_each_molecule():
    """Against loops over entries and over pairs of modes."""
    structures, targets = molecules()
    noise = [torch.randn(h.shape, dtype=h.dtype) for h in targets]
    predicted = [h + n + n.T for h, n in zip(targets, noise, strict=True)]
    target = with_hessians(structures, targets, True)
    losses = hessian_losses(as_blocks(structures, predicted), target)
    for i, (h, t) in enumerate(zip(predicted, targets, strict=True)):
        size = len(h)
        error = sum(abs(float(h[a, b] - t[a, b])) for a in range(size) for b in range(size))
        assert float(losses["hessian"][i]) == pytest.approx(error / size**2)
        values, vectors = torch.linalg.eigh(t)
        error, count = 0.0, min(size, MODES)
        for a in range(count):
            for b in range(count):
                exact = values[a] if a == b else 0.0
                error += abs(float(vectors[:, a] @ h @ vectors[:, b] - exact))
        assert float(losses["hessian_modes"][i]) == pytest.approx(error / count**2)
    total = sum(float((h - t).abs().sum()) for h, t in zip(predicted, targets, strict=True))
    sums = hessian_sums(losses, target)
    assert sums.tolist() == pytest.approx([total, sum(h.numel() for h in targets)])


def test_errors_of_zero_point_energies_are_true_to_first_order():
    """Against the zero-point energies of both Hessians; rigid motions play no part."""
    structures, targets = molecules()
    target = with_hessians(structures, targets, zero_point=True)
    parts = structures.split()
    noise = [torch.randn(h.shape, dtype=h.dtype) * 1e-5 for h in targets]
    predicted = [h + n + n.T for h, n in zip(targets, noise, strict=True)]
    losses = hessian_losses(as_blocks(structures, predicted), target)
    assert losses.keys() == {"hessian", "hessian_zpe"}
    for i, (part, h, t) in enumerate(zip(parts, predicted, targets, strict=True)):
        atoms = Atoms(part.species.numpy(), part.positions.numpy())
        both = [normal_modes(atoms, matrix.numpy()) for matrix in (h, t)]
        assert ((both[1].frequencies < 0) | (both[1].frequencies > SOFT)).all()
        energies = [modes.zero_point_energy for modes in both]
        assert energies[1] > 0.02
        change = abs(energies[0] - energies[1])
        assert float(losses["hessian_zpe"][i]) == pytest.approx(change, rel=1e-3)


def test_zero_point_energies_of_soft_modes_are_bounded():
    """A mode without a frequency would count infinitely much, one of negative curvature nothing."""
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    along = torch.zeros(6, dtype=torch.float64)
    along[2], along[5] = 0.5**0.5, -(0.5**0.5)
    stiff, soft, flat, negative = (
        zero_point_slope(from_ase(atoms), k * torch.outer(along, along)).norm()
        for k in (10.0, 1e-3, 1e-9, -1.0)
    )
    assert stiff < soft == flat < 1
    assert negative == 0


def test_a_part_of_a_set_has_the_same_losses():
    structures, targets = molecules()
    target = with_hessians(structures, targets, True, True)
    predicted = [h + 1.0 for h in targets]
    whole = hessian_losses(as_blocks(structures, predicted), target)
    part = target.index([2, 0])  # small ones, out of a set with wider rows
    alone = hessian_losses(as_blocks(part, [predicted[2], predicted[0]]), part)
    for key, values in alone.items():
        torch.testing.assert_close(values, whole[key][[2, 0]])


def test_missing_hessians_do_not_count():
    """Nor do they spoil the derivatives."""
    structures, targets = molecules()
    broken = targets[3].clone()
    broken[0, 0] = torch.inf
    given = [targets[0], None, targets[2], broken, targets[4]]
    target = with_hessians(structures, given, True, True)
    assert has_hessian(target).tolist() == [True, False, True, False, True]
    off = [(1.1 * h + 1.0).requires_grad_() for h in targets]
    losses = hessian_losses(as_blocks(structures, off), target)
    for name, values in losses.items():
        least = 1e-3 if name == "hessian_zpe" else 0.1  # eV and eV/Å²
        assert ((values > least) == has_hessian(target)).all()
        assert (values[[1, 3]] == 0).all()
    assert float(hessian_sums(losses, target)[1]) == 81 + 36 + 144
    sum(values.sum() for values in losses.values()).backward()
    assert all(bool(h.grad.isfinite().all()) for h in off)
    assert off[1].grad.abs().max() == 0


def test_sets_of_unequal_molecules_are_joined():
    structures, targets = molecules()
    small = with_hessians(structures.index([0]), targets[:1], True, True)
    bare = structures.index([1, 2])
    parts = of_one_width([small, bare])
    joined = cat(parts)
    assert has_hessian(joined).tolist() == [True, False, False]
    blocks = as_blocks(structures.index([0, 1, 2]), [h + 1.0 for h in targets[:3]])
    losses = hessian_losses(blocks, joined)
    assert losses["hessian"].tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert losses["hessian_zpe"].tolist()[1:] == [0.0, 0.0]
    assert of_one_width([bare]) == [bare]


def test_soft_modes_of_a_small_molecule_are_all_it_has():
    values, vectors = soft_modes(torch.diag(torch.arange(6.0, dtype=torch.float64).flip(0)), 6)
    assert values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0]
    assert vectors.shape == (6, MODES)
    assert vectors.square().sum(dim=0).tolist() == [1.0] * 6 + [0.0] * 2


def test_a_molecule_of_one_atom_counts():
    structures = from_ase(Atoms("O"))
    zero = torch.zeros(3, 3, dtype=torch.float64)
    losses = hessian_losses(as_blocks(structures, [zero]), with_hessians(structures, [zero], True))
    assert losses["hessian"].tolist() == losses["hessian_modes"].tolist() == [0.0]


def test_one_target_for_each_structure():
    structures, targets = molecules()
    with pytest.raises(ValueError, match="longer"):
        with_hessians(structures, targets[:2], False)


@pytest.mark.slow
def test_three_body_hessians_are_learned():
    """Antisymmetric parts of blocks included; the loss falls to three hundredths."""
    structures, targets = molecules()
    structures, targets = structures.index([0, 1, 3, 4]), [targets[i] for i in (0, 1, 3, 4)]
    block = targets[1][0:3, 9:12]  # two hydrogens that do not touch
    assert (block - block.T).abs().max() > 0.1
    target = with_hessians(structures, targets, True)
    torch.manual_seed(0)
    wide = "16x0e+16x1o+16x2e"
    backbone = {"name": "facet", "irreps": ["16x0e", wide, wide, "16x0e"], "residual_init": 0.5}
    network = checkpoint.build("hip", {"species": [1, 8], "backbone": backbone, "channels": 8})
    network = network.double()
    graph = network.featurize(target)
    steps, rate = 250, 2e-2
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    history = []
    for _ in range(steps):
        losses = hessian_losses(network.hessian_blocks(graph), graph)
        loss = sum(values.mean() for values in losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(float(losses["hessian"].detach().mean()))
    print(f"{history[0]:.3f} -> {history[-1]:.4f} eV/Å²")
    assert history[-1] < 0.03 * history[0]


def test_zero_point_energies_are_those_of_molecules():
    crystal = from_ase(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[5, 5, 5], pbc=True))
    options = LossOptions(hessian_zpe_weight=1)
    nothing = LabelCount(None, 0)
    found = LabelReport(1, nothing, nothing, nothing)
    with pytest.raises(DataError, match="Expected molecules"):
        add_hessians(Dataset(crystal, ("relaxed",), ("H2",), ("here",), found), {}, options)
