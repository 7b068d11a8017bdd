"""Three sources of a Hessian behind one contract."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.calculator import HESSIANS, MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError
from matkit.hessians.calculators import difference_hessian
from matkit.hessians.differences import STEP
from matkit.hessians.potentials import autograd_hessian, impose_invariance, predicted_hessian
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures
from matkit.testing.systems import crystal, water
from tests.potentials.test_hip import TINY
from tests.vibrations.springs import K, Springs, carbon_dioxide, nitrogen


class Known(Springs):
    """Springs that say their Hessian themselves, in the form a network would.

    For a pair with spring force f' and stiffness f'' along the direction d, the block between the
    two is ``-(f'' d dᵀ + (f'/r) (1 - d dᵀ))``.
    """

    def __init__(self, cutoff: float, invariant: bool = False) -> None:
        super().__init__(cutoff)
        self.hessian_cutoff, self.invariant = cutoff, invariant

    def hessian_blocks(self, graph):
        pairs = radius_graph(graph, self.cutoff)
        lengths = pairs.vectors.norm(dim=1)[:, None, None]
        rest = self.lengths[pairs.species[pairs.center], pairs.species[pairs.neighbor]]
        along = torch.einsum("ea,eb->eab", pairs.vectors, pairs.vectors) / lengths**2
        slack = 1 - rest[:, None, None] / lengths
        off = -self.constant * (along + slack * (torch.eye(3) - along)) / 2
        diagonal = off.new_zeros(len(pairs.species), 3, 3).index_add(0, pairs.center, -off)
        return PairBlocks(pairs=pairs, diagonal=diagonal, off=off, invariant=self.invariant)


def known(**settings) -> MatkitCalculator:
    return MatkitCalculator(Conservative(Known(3.0, **settings)).eval(), device="cpu")


def stretched() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=3)
    return atoms


def box() -> Atoms:
    """A crystal whose atoms see images of each other and of themselves."""
    atoms = Atoms("CO", [[0, 0, 0], [1.2, 0.3, 0.1]], cell=np.diag([2.1, 2.4, 2.8]), pbc=True)
    atoms.rattle(0.05, seed=4)
    return atoms


@pytest.mark.parametrize("make", [stretched, box])
@pytest.mark.parametrize("invariant", [False, True])
def test_three_methods_agree_on_a_conservative_model(make, invariant):
    calc = known(invariant=invariant)
    found = {method: calc.get_hessian(make(), method=method) for method in HESSIANS}
    assert found["autograd"].shape == (3 * len(make()),) * 2
    assert np.abs(found["autograd"] - found["predict"]).max() < 1e-10
    assert np.abs(found["finite-difference"] - found["predict"]).max() < 1e-3
    assert all(np.array_equal(matrix, matrix.T) for matrix in found.values())


def test_pairs_that_come_and_go_with_a_displacement_are_found_by_one_search(monkeypatch):
    searches = []

    def counted(structures, *args):
        searches.append(len(structures))
        return radius_graph(structures, *args)

    atoms = stretched()
    longest = np.sort(atoms.get_all_distances(), axis=None)[-2]
    for beyond in (-0.5 * STEP, 0.5 * STEP):
        calc = MatkitCalculator(Conservative(Known(longest + beyond)).eval(), device="cpu")
        expected = difference_hessian(atoms, calc, range(len(atoms)))
        with monkeypatch.context() as patch:
            patch.setattr("matkit.hessians.potentials.radius_graph", counted)
            found = calc.get_hessian(atoms, method="finite-difference", block=32)
        assert np.abs(found - expected).max() < 1e-9
    assert searches == [1, 1]


@pytest.mark.parametrize("method", ["autograd", "finite-difference"])
def test_rows_of_some_atoms_are_computed_for_these_alone(method, monkeypatch):
    calc, atoms = known(), stretched()
    whole, copies = calc.get_hessian(atoms, method=method), []
    forward = Conservative.forward

    def counted(self, graph, *args, **kwargs):
        copies.append(len(graph))
        return forward(self, graph, *args, **kwargs)

    monkeypatch.setattr(Conservative, "forward", counted)
    found = calc.get_hessian(atoms, method=method, free=[4, 1])
    assert sum(copies) == (6 if method == "autograd" else 12)
    rows = np.repeat(np.isin(np.arange(len(atoms)), [1, 4]), 3)
    # Not averaged with the rows of the others, which differences would change.
    assert np.abs(found[rows] - whole[rows]).max() < (1e-9 if method == "autograd" else 1e-3)
    assert np.array_equal(found, found.T)
    assert not found[~rows][:, ~rows].any()


def test_a_new_position_gives_a_new_prediction():
    calc, atoms = known(), stretched()
    before = calc.get_hessian(atoms, method="predict")
    atoms.positions[0, 0] += 0.1
    assert np.abs(calc.get_hessian(atoms, method="predict") - before).max() > 0.1


def test_a_committee_predicts_the_mean():
    members = [Conservative(Known(3.0)).eval() for _ in range(2)]
    members[1].network.constant.data *= 3
    found = MatkitCalculator(members, device="cpu").get_hessian(stretched(), method="predict")
    one = known().get_hessian(stretched(), method="predict")
    assert found == pytest.approx(2 * one, abs=1e-10)


def test_a_model_without_head_says_so():
    plain = Conservative(Springs(3.0)).eval()
    with pytest.raises(ConfigError, match=r"predicts no Hessians.*autograd or finite-difference"):
        MatkitCalculator(plain, device="cpu").get_hessian(water(), method="predict")
    with pytest.raises(ConfigError, match="predicts no Hessians"):
        predicted_hessian(plain, from_ase(water()))


def hip(dtype: torch.dtype = torch.float64, **changes) -> Conservative:
    torch.manual_seed(0)
    return Conservative(checkpoint.build("hip", TINY | changes).to(dtype)).eval()


def gradient(potential: Conservative, structures: Structures) -> torch.Tensor:
    return -potential(potential.featurize(structures), properties=("forces",))["forces"]


@pytest.mark.parametrize("sum_rule", ["project", "diagonal"])
def test_prediction_is_invariant_under_rigid_motions(sum_rule):
    """Also away from a stationary point, where a turn of all atoms turns the forces."""
    potential, atoms = hip(sum_rule=sum_rule), from_ase(water())
    found = predicted_hessian(potential, atoms)
    g = gradient(potential, atoms)
    assert g.abs().max() > 1e-2
    for axis in torch.eye(3, dtype=torch.float64):
        assert (found @ axis.repeat(3)).abs().max() < 1e-10
        turn, turned = (torch.linalg.cross(axis.expand(3, 3), v) for v in (atoms.positions, g))
        assert (found @ turn.flatten() - turned.flatten()).abs().max() < 1e-10


def test_without_a_rule_the_prediction_is_what_was_learned():
    potential, atoms = hip(sum_rule="none"), from_ase(water())
    (learned,) = potential.hessian_blocks(potential.featurize(atoms)).dense()
    assert torch.equal(predicted_hessian(potential, atoms), learned.detach())
    axis = torch.eye(3, dtype=torch.float64)[0]
    assert (learned @ axis.repeat(3)).abs().max() > 1e-3


@pytest.mark.parametrize("make", [stretched, nitrogen, carbon_dioxide, lambda: Atoms("O")])
def test_an_invariant_hessian_stays_as_it_is(make):
    potential, structures = Conservative(Springs(3.0)).eval(), from_ase(make())
    exact = autograd_hessian(potential, structures)
    after = impose_invariance(exact, structures, -gradient(potential, structures))
    assert torch.allclose(after, exact, rtol=0, atol=1e-10)


def noisy_hessian() -> tuple[Structures, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a molecule, its Hessian without and with noise, and its forces."""
    potential, structures = Conservative(Springs(3.0)).eval(), from_ase(stretched())
    exact = autograd_hessian(potential, structures)
    noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0), dtype=exact.dtype)
    return structures, exact, exact + 0.1 * (noise + noise.T), -gradient(potential, structures)


def test_invariance_is_imposed_once():
    structures, exact, noisy, forces = noisy_hessian()
    after = impose_invariance(noisy, structures, forces)
    assert torch.allclose(impose_invariance(after, structures, forces), after, rtol=0, atol=1e-10)
    assert (after - exact).norm() < (noisy - exact).norm()


def test_invariance_is_imposed_by_the_smallest_relative_change(monkeypatch):
    """What is added, by block in units of its room, is orthogonal to all that is free to be."""
    structures, exact, noisy, forces = noisy_hessian()
    room = noisy.reshape(-1, 3, len(exact) // 3, 3).norm(dim=(1, 3)).sqrt()
    room = room.repeat_interleave(3, 0).repeat_interleave(3, 1)
    few = ((impose_invariance(noisy, structures, forces) - noisy) ** 2 / room).sum()
    monkeypatch.setattr("matkit.hessians.potentials.INVARIANCE_STEPS", 1000)
    after = impose_invariance(noisy, structures, forces)
    assert float(((noisy - after) / room * (after - exact)).sum()) == pytest.approx(0, abs=1e-6)
    assert few == pytest.approx(float(((after - noisy) ** 2 / room).sum()), rel=1e-3)


def test_what_is_wrong_with_a_bond_does_not_reach_distant_atoms():
    one, far = molecule("H2O"), molecule("NH3")
    far.translate([40, 0, 0])
    potential, structures = Conservative(Springs(3.0)).eval(), from_ase(one + far)
    exact = autograd_hessian(potential, structures)
    wrong = exact.clone()
    wrong[:3, :3] += 0.5
    after = impose_invariance(wrong, structures, -gradient(potential, structures))
    assert (after - exact)[:9, :9].abs().max() > 0.01
    assert (after - exact)[:9, 9:].abs().max() < 1e-2
    assert (after - exact)[9:, 9:].abs().max() < 1e-2


def test_isolated_atoms_have_no_hessian():
    atoms = from_ase(Atoms("OH", [[0, 0, 0], [50, 0, 0]]))
    zero = torch.zeros(6, 6, dtype=torch.float64)
    assert torch.equal(impose_invariance(zero, atoms, torch.zeros(2, 3).double()), zero)


def test_a_crystal_is_shifted_but_not_turned():
    potential, atoms = hip(), from_ase(crystal())
    found = predicted_hessian(potential, atoms)
    (learned,) = potential.hessian_blocks(potential.featurize(atoms)).dense()
    assert found.unflatten(1, (-1, 3)).sum(1).abs().max() < 1e-10
    shifts = torch.eye(3, dtype=torch.float64).repeat(len(atoms.species), 1)
    free = torch.eye(len(learned)) - shifts @ shifts.T / len(atoms.species)
    assert torch.allclose(free @ learned @ free, found, rtol=0, atol=1e-10)


def test_single_precision_prediction_is_close():
    exact = predicted_hessian(hip(), from_ase(water()))
    rough = predicted_hessian(hip(torch.float32), from_ase(water()))
    assert rough.dtype == torch.float64
    assert (exact - rough).abs().max() < 1e-3 * exact.abs().max()


def test_bloch_sum_of_springs_has_their_dispersion():
    """A chain of equal springs: 2 k (1 - cos 2πq) along it."""
    chain = Atoms("N", cell=np.diag([1.10, 20, 20]), pbc=True)
    model = Known(1.5)
    cell = model.hessian_blocks(model.featurize(from_ase(chain)))
    for q in (0.0, 0.2, 0.5):
        wave = cell.bloch(torch.tensor([q, 0.0, 0.0], dtype=torch.float64)).detach()
        expected = 2 * K * (1 - np.cos(2 * np.pi * q))
        assert float(wave[0, 0].real) == pytest.approx(expected, abs=1e-10)


def test_vibrations_take_a_predicted_hessian():
    from matkit.vibrations import vibrations

    results = [vibrations(carbon_dioxide(), known(), method=m) for m in ("predict", "autograd")]
    assert results[0].method == "predict"
    assert len(results[0].modes.frequencies) == 4
    predicted, exact = (result.modes.frequencies for result in results)
    assert predicted == pytest.approx(exact, abs=1e-3)
