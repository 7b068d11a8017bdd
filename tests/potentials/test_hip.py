from typing import ClassVar

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor, nn

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import CheckpointError, ConfigError
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.grow import extended
from matkit.pair_blocks import PairBlocks
from matkit.potentials.hip import HIP
from matkit.structures import Structures, cat
from matkit.testing.potentials import PotentialContract
from matkit.testing.systems import SYSTEMS, crystal, random_rotation, water
from matkit.train.finetune import freeze

FACET = {
    "name": "facet",
    "irreps": ["8x0e", "8x0e+4x1o+2x2e", "8x0e+4x1o+2x2e", "8x0e"],
    "cutoff": 3.6,
    "neighbor_norm": 3.0,
    "residual_init": 0.5,
}
NEQUIP = {
    "name": "nequip",
    "irreps": ["8x0e", *["8x0e+4x1o+3x1e+2x2e"] * 2, "8x0e"],
    "cutoff": 3.6,
    "radial_hidden": [8],
    "neighbor_norm": 0.5,  # features with directions are small before training
}
TINY = {
    "species": [1, 8, 11, 17],
    "backbone": FACET,
    "hessian_cutoff": 5.0,
    "channels": 4,
    "basis_size": 6,
    "product_layers": 2,
    "product_channels": 3,
    "hessian_decay": 0.5,
}
HEAD = {
    *(f"network.head.linear_off.weights.{i}" for i in range(3)),
    *(f"network.head.linear_own.weights.{i}" for i in range(2)),
    *(f"network.head.pairs.{end}.weights.{i}" for end in ("center", "neighbor") for i in range(3)),
    *(f"network.head.pairs.linear.weights.{i}" for i in range(3)),
    *(
        f"network.head.products.{layer}.{name}.weights.{i}"
        for layer in range(2)
        for name in ("first", "second", "linear")
        for i in range(3)
    ),
    *(
        f"network.head.linear_back.{layer}.{name}.weights.{i}"
        for layer in range(2)
        for name in ("first", "last")
        for i in range(2)
    ),
    *(f"network.head.pairs.{name}.weights.0" for name in ("scalars", "radial", "weights")),
    *("network.head.pairs.weights.weights.1", "network.head.basis.frequencies"),
}


def test_a_core_changes_nothing_at_the_distances_of_bonds():
    torch.manual_seed(0)
    bare, cored = (checkpoint.build("hip", TINY | more).eval() for more in ({}, {"core": 0.5}))
    cored.load_state_dict(bare.state_dict())
    graph = bare.featurize(from_ase(water()))
    assert torch.equal(bare(graph)["atom_energy"], cored(graph)["atom_energy"])
    blocks = [model.hessian_blocks(graph).dense()[0] for model in (bare, cored)]
    assert torch.equal(*blocks)


class TestHIP(PotentialContract):
    name = "hip"
    hyperparameters: ClassVar = TINY
    claims: ClassVar = {"rotation", "reflection"}
    unused_parameters: ClassVar = HEAD  # the energy is the backbone's


def model(**changes) -> HIP:
    torch.manual_seed(0)
    network = checkpoint.build("hip", TINY | changes)
    assert isinstance(network, HIP)
    awaken(network)
    return network.double().eval()


def energy(network: HIP, structures: Structures) -> Tensor:
    with torch.no_grad():
        return network(network.featurize(structures))["atom_energy"]


def awaken(network: HIP) -> None:
    """Let the layers of the head do something: they begin as the identity."""
    for layer in network.head.further.layers if network.head.further else ():
        for weight in layer.norm.weights:
            nn.init.constant_(weight, 0.5)
    updates = [product.linear for product in network.head.products]
    updates += [back.last for back in network.head.linear_back]
    for linear in updates:
        if not linear.weights[1].any():
            for weight in linear.weights:
                nn.init.normal_(weight)


VARIANTS = {
    "facet": {},
    "nequip": {"backbone": NEQUIP},
    "diagonal": {"sum_rule": "diagonal"},
    "layers": {"layers": 2},
    "own features": {"own_features": True},
    "nequip with own features": {"backbone": NEQUIP, "own_features": True},
    "nequip with layers": {"backbone": NEQUIP, "layers": 1},
}


@pytest.fixture(scope="module", params=VARIANTS)
def hip(request) -> HIP:
    return model(**VARIANTS[request.param])


def blocks(network: Potential, structures: Structures) -> PairBlocks:
    with torch.no_grad():
        return network.hessian_blocks(network.featurize(structures))


def hessian(network: Potential, structures: Structures) -> torch.Tensor:
    """Blocks [N, N, 3, 3] of one structure."""
    (found,) = blocks(network, structures).dense()
    return found.unflatten(1, (-1, 3)).unflatten(0, (-1, 3)).transpose(1, 2)


def everything() -> list[Structures]:
    return [from_ase(make()) for make in SYSTEMS.values()]


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_blocks_turn_with_the_structure(hip, sign):
    matrix = sign * random_rotation()
    for before in everything():
        after = before.replace(positions=before.positions @ matrix.T, cell=before.cell @ matrix.T)
        turned = matrix @ hessian(hip, before) @ matrix.T
        assert (turned - hessian(hip, after)).abs().max() < 1e-10


def test_reflection_differs_from_rotation_without_natural_parity():
    """As in SevenNet, which the backbone then does not tell from its mirror image."""
    both = {"natural_parity": False, "irreps": ["8x0e", *["8x0e+4x1e+2x2e"] * 2, "8x0e"]}
    network, matrix = model(backbone=NEQUIP | both), random_rotation()
    atoms = Atoms("ONaClH", [[0, 0, 0], [1.9, 0.1, 0], [0.2, 2.1, 0.3], [-0.4, 0.3, 1.0]])
    before, changes = from_ase(atoms), []
    for turn in (matrix, -matrix):
        after = hessian(network, before.replace(positions=before.positions @ turn.T))
        changes.append((turn @ hessian(network, before) @ turn.T - after).abs().max())
    assert changes[0] < 1e-10 < 1e-3 < changes[1]


def test_translation_and_permutation(hip):
    for before in everything():
        order = torch.randperm(len(before.species))
        moved = before.positions + torch.tensor([0.3, -7.1, 11.0])
        after = before.replace(positions=moved[order], species=before.species[order])
        expected = hessian(hip, before)[order][:, order]
        assert (expected - hessian(hip, after)).abs().max() < 1e-10


def test_symmetric_to_the_bit(hip):
    for (found,) in (blocks(hip, structures).dense() for structures in everything()):
        assert torch.equal(found, found.T)
        assert found.abs().max() > 0


def test_blocks_of_two_atoms_are_not_symmetric(hip):
    """They have an antisymmetric part, which features of natural parity alone would not give."""
    found = hessian(hip, from_ase(water()))[0, 1]
    assert (found - found.T).abs().max() > 1e-3 * found.abs().max()


def test_batch_equals_singles(hip):
    parts = everything()
    together = blocks(hip, cat(parts)).dense()
    for one, part in zip(together, parts, strict=True):
        (alone,) = blocks(hip, part).dense()
        assert torch.allclose(one, alone, rtol=0, atol=1e-10)


def test_two_calls_give_the_same_bits(hip):
    first, second = (blocks(hip, from_ase(crystal())).flat()[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("cutoff", [2.5, 5.0])  # below and above the backbone's
def test_smooth_at_the_cutoff_of_pairs(cutoff):
    network = model(hessian_cutoff=cutoff)
    network.head.basis.frequencies.data *= 1.1  # untrained ones vanish at the cutoff, too

    def pair(distance: float) -> torch.Tensor:
        atoms = Atoms("ONaH", [[0, 0, 0], [distance, 0, 0], [0, 0.9, 0.1]])
        return hessian(network, from_ase(atoms))[0, 1]

    assert not pair(cutoff).any()
    near, far = (pair(cutoff - 1e-2 * k).abs().max() for k in (2, 1))
    assert near / far == pytest.approx(8, rel=0.05)  # the third power: two derivatives continue


def test_blocks_belong_to_the_pairs_that_the_model_featurizes(hip):
    structures = from_ase([crystal(), water()])
    pairs = Conservative(hip).featurize_pairs(structures)
    assert pairs.cutoff == hip.hessian_cutoff
    got = blocks(hip, structures).pairs
    assert torch.equal(got.center, pairs.center)
    assert torch.equal(got.neighbor, pairs.neighbor)
    assert torch.equal(got.shift, pairs.shift)


def test_a_model_without_blocks_has_no_pairs(hip):
    with pytest.raises(ConfigError, match="predicts no matrix with blocks"):
        hip.backbone.featurize_pairs(from_ase(water()))


def test_one_atom_has_no_hessian(hip):
    assert not hessian(hip, from_ase(Atoms("O"))).any()


def test_two_atoms(hip):
    """Along the axis and across it there is one number each."""
    found = hessian(hip, from_ase(Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])))
    for block in found.flatten(0, 1):
        assert torch.allclose(block, torch.diag(torch.diagonal(block)), atol=1e-12)
        assert block[0, 0] == pytest.approx(float(block[1, 1]), abs=1e-12)


def test_diagonal_rule_makes_rows_add_up_to_no_symmetric_part():
    network = model(sum_rule="diagonal")
    for structures in everything():
        rows = hessian(network, structures).sum(1)
        assert (rows + rows.mT).abs().max() < 1e-10


def test_energy_and_forces_are_the_backbones():
    network = model()
    whole, alone = Conservative(network), Conservative(network.backbone)
    for structures in everything():
        for differentiable in (False, True):
            graph = whole.featurize(structures)
            a, b = (m(graph, differentiable=differentiable) for m in (whole, alone))
            assert all(torch.equal(a[key].nan_to_num(), b[key].nan_to_num()) for key in a)


def test_bloch_sums_are_those_of_a_supercell(hip):
    """The eigenvalues of a supercell's Hessian are those of all wave vectors that fit into it."""
    atoms = SYSTEMS["tiny cell"]()
    (whole,) = blocks(hip, from_ase(atoms.repeat((3, 1, 1)))).dense()
    cell = blocks(hip, from_ase(atoms))
    waves = [cell.bloch(torch.tensor([k / 3, 0, 0], dtype=torch.float64)) for k in range(3)]
    assert torch.allclose(waves[1], waves[1].mH, rtol=0, atol=1e-14)
    values = torch.cat([torch.linalg.eigvalsh(wave) for wave in waves]).sort().values
    assert torch.allclose(values, torch.linalg.eigvalsh(whole), rtol=0, atol=1e-10)


def test_bloch_sum_without_wave_is_the_hessian(hip):
    cell = blocks(hip, from_ase(crystal()))
    wave = cell.bloch(torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(wave, cell.dense()[0] + 0j, rtol=0, atol=1e-12)


def test_single_precision_is_close():
    network = model()
    exact = hessian(network, from_ase(crystal()))
    rough = hessian(network.float(), from_ase(crystal()))
    assert rough.dtype == torch.float64
    assert (exact - rough).abs().max() < 1e-4 * exact.abs().max()


def test_a_far_fragment_changes_nothing(hip):
    apart = water() + Atoms("NaCl", [[50, 0, 0], [52.4, 0, 0]])
    found = hessian(hip, from_ase(apart))
    assert torch.allclose(found[:3, :3], hessian(hip, from_ase(water())), rtol=0, atol=1e-10)
    assert not found[:3, 3:].any()


@pytest.mark.parametrize("layers", [0, 2])
def test_larger_molecules_and_gradients(layers):
    """Every parameter of the head, and of the backbone but its last layer, is trained."""
    network = model(layers=layers).train()
    structures = cat([from_ase(crystal()), from_ase(molecule("H2O2"))])
    network.hessian_blocks(network.featurize(structures)).flat()[0].square().sum().backward()
    missing = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    last = {n for n in missing if n.startswith(("backbone.interactions.2.", "backbone.readout."))}
    assert missing == last


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"layers": 2}, "head.further."),
        ({"product_layers": 3}, ("head.products.2.", "head.linear_back.2.")),
        ({"product_layers": 3, "sum_rule": "diagonal"}, "head.products.2."),
    ],
)
def test_further_layers_begin_as_the_identity(more, names):
    network = model(sum_rule=more.get("sum_rule", "project"))
    larger = checkpoint.build("hip", TINY | more).double()
    missing, unexpected = larger.load_state_dict(network.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith(names) for name in missing)
    for structures in everything():
        assert torch.equal(hessian(larger, structures), hessian(network, structures))
    structures = from_ase(molecule("H2O2"))
    optimizer = torch.optim.SGD(larger.parameters(), lr=1e-3)
    for _ in range(2):  # parameters behind those that are zero get a gradient after them
        optimizer.zero_grad()
        found = larger.hessian_blocks(larger.featurize(structures))
        found.flat()[0].square().sum().backward()
        optimizer.step()
    parameters = dict(larger.named_parameters())
    assert all(parameters[name].grad.any() for name in missing)
    awaken(larger)
    assert not torch.allclose(hessian(larger, structures), hessian(network, structures))


@pytest.mark.parametrize("backbone", [FACET, NEQUIP])
def test_own_features_begin_as_the_backbones_and_go_their_way(backbone):
    network = model(backbone=backbone)
    larger = checkpoint.build("hip", TINY | {"backbone": backbone, "own_features": True}).double()
    with pytest.raises(RuntimeError, match=r"Missing key.*own\."):
        larger.load_state_dict(network.state_dict())
    missing, unexpected = larger.load_state_dict(network.state_dict(), strict=False)
    assert not missing
    assert not unexpected
    for structures in everything():
        assert torch.equal(hessian(larger, structures), hessian(network, structures))
    structures = from_ase(molecule("H2O2"))
    blocks = larger.hessian_blocks(larger.featurize(structures))
    blocks.flat()[0].square().sum().backward()
    trained = {n for n, p in larger.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {n for n, _ in larger.named_parameters() if not n.startswith("backbone.")}
    with torch.no_grad():
        for parameter in larger.own.parameters():
            parameter.mul_(1.1)
    assert not torch.allclose(hessian(larger, structures), hessian(network, structures))
    assert torch.equal(energy(larger, structures), energy(network, structures))
    again = checkpoint.build("hip", TINY | {"backbone": backbone, "own_features": True}).double()
    again.load_state_dict(larger.state_dict())
    assert torch.equal(hessian(again, structures), hessian(larger, structures))


def test_freezing_the_backbone_leaves_the_head():
    network = model()
    freeze(network, ["backbone"])
    trained = {f"network.{n}" for n, p in network.named_parameters() if p.requires_grad}
    assert trained == HEAD


def test_saved_model_predicts_the_same(tmp_path):
    network = model(sum_rule="diagonal")
    loaded, metadata = checkpoint.load(checkpoint.save(network, tmp_path / "hip.safetensors"))
    assert metadata["hyperparameters"] == TINY | {"sum_rule": "diagonal"}
    a, b = (blocks(m, from_ase(crystal())).flat()[0] for m in (network, loaded))
    assert torch.equal(a, b)


def test_a_backbone_built_by_hand_cannot_be_saved(tmp_path):
    backbone = checkpoint.build("facet", {"species": [1, 8]} | {"cutoff": 3.0})
    network = HIP([1, 8], backbone)
    assert network.cutoff == 3.0
    with pytest.raises(CheckpointError, match="arguments are unknown"):
        checkpoint.save(network, tmp_path / "hip.safetensors")


def test_species_must_be_those_of_the_backbone():
    backbone = checkpoint.build("facet", {"species": [1, 8]})
    with pytest.raises(ConfigError, match=r"the backbone's species \[1, 8\], got \[8, 1\]"):
        HIP([8, 1], backbone)


def test_a_new_element_leaves_known_ones_as_they_were():
    network = model()
    larger, _ = extended(network, [9])
    assert larger.species[-1] == 9
    before, after = (hessian(m, from_ase(water())) for m in (network, larger))
    assert torch.allclose(before, after, rtol=0, atol=1e-10)
    assert hessian(larger, from_ase(Atoms("HF", [[0, 0, 0], [0.9, 0, 0]]))).abs().max() > 0


SCALARS = FACET | {"irreps": ["8x0e", "8x0e", "8x0e"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sum_rule": "projekt"}, "Did you mean 'project'"),
        ({"hessian_cutoff": 0.0}, "positive `hessian_cutoff`"),
        ({"product_channels": 0}, "positive `product_channels`"),
        ({"layers": -1}, "Expected `layers`, .* of at least 0 .* got -1"),
        ({"hessian_decay": -0.5}, "`hessian_decay` .1/Å. of at least 0"),
        ({"hessian_scale": -1.0}, "positive `hessian_cutoff` in Å and `hessian_scale`"),
        ({"backbone": SCALARS}, "Features 8x0e and harmonics up to l = 2 cannot make the 0e"),
        ({"channel": 4}, "Cannot build 'facet' from .*channel"),
        ({"backbone": {"irreps": ["8x0e"]}}, "Expected `name` of the architecture in `backbone`"),
        ({"backbone": FACET | {"cutof": 3.0}}, "cutof"),
        ({"backbone": TINY | {"name": "hip"}}, "such as facet or nequip, got HIP"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint.build("hip", TINY | change)
