import logging
import math

import pytest
import torch
from ase import Atoms, units
from ase.data import covalent_radii

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.neighbors.padding import pad
from matkit.nn.frozen import passes
from matkit.nn.references import references_of
from matkit.nn.repulsion import STILL, ZBL, Core, screened_coulomb
from matkit.structures import cat
from matkit.testing.systems import SYSTEMS, crystal
from tests.potentials.test_facet import GATE
from tests.potentials.test_nequip import SEVENNET

# Elements of the universal potential: hydrogen to plutonium without polonium to radium.
ELEMENTS = [z for z in range(1, 95) if not 84 <= z <= 88]
CUTOFF = 5.0


def by_hand(z_i: int, z_j: int, r: float) -> float:
    """The repulsion of two nuclei in eV, without units of ASE: 4π ε0 = 1, atomic units inside."""
    hartree, bohr = 27.211386245988, 0.529177210903
    x = r / bohr / (0.8854 / (z_i**0.23 + z_j**0.23))
    terms = (0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)
    screened = hartree * z_i * z_j / (r / bohr) * sum(w * math.exp(-e * x) for w, e in terms)
    t = r / min(CUTOFF, covalent_radii[z_i] + covalent_radii[z_j])
    return screened * (1 - 28 * t**6 + 48 * t**7 - 21 * t**8) if t < 1 else 0.0


def graph_of(atoms: Atoms | list[Atoms]):
    return radius_graph(from_ase(atoms), CUTOFF)


def dimer(z_i: int, z_j: int, r: float) -> Atoms:
    return Atoms([z_i, z_j], [[0, 0, 0], [0.6 * r, 0, 0.8 * r]])


def test_all_pairs_of_elements_agree_with_the_formula():
    """At distances of a fifth to all of their reach."""
    pairs = [(z_i, z_j) for k, z_i in enumerate(ELEMENTS) for z_j in ELEMENTS[k:]]
    dimers, expected = [], []
    for number, (z_i, z_j) in enumerate(pairs):
        r = (0.2 + number % 9 / 10) * min(CUTOFF, covalent_radii[z_i] + covalent_radii[z_j])
        dimers.append(dimer(z_i, z_j, r))
        expected += [by_hand(z_i, z_j, r) / 2] * 2
    found = ZBL(ELEMENTS, CUTOFF)(graph_of(dimers))
    # ASE takes e², a0 and the Hartree from an earlier edition of CODATA.
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-9)


def test_slope_of_the_bare_repulsion():
    r = torch.linspace(0.05, 4, 50, dtype=torch.float64, requires_grad=True)
    value, slope = screened_coulomb(r, torch.full_like(r, 26.0), torch.full_like(r, 8.0))
    (expected,) = torch.autograd.grad(value.sum(), r)
    assert torch.allclose(slope, expected, rtol=1e-12)


def test_nuclei_that_touch_repel_like_bare_charges():
    r = torch.tensor([1e-6], dtype=torch.float64)
    charge = torch.tensor([8.0], dtype=torch.float64)
    value, _ = screened_coulomb(r, charge, charge)
    assert float(value) == pytest.approx(64 * units.Hartree * units.Bohr / 1e-6, rel=1e-4)


@pytest.mark.parametrize("zbl", [ZBL([1, 8, 11, 17], CUTOFF), Core([1, 8, 11, 17], CUTOFF, 0.8)])
@pytest.mark.parametrize("dense", [False, True])
def test_written_out_derivative_agrees_with_autograd(monkeypatch, dense, zbl):
    """As on the CPU, where near pairs are picked, and on a GPU, where none is."""
    if dense:
        monkeypatch.setattr(ZBL, "_near", lambda self, graph: slice(None))
    structures = cat([from_ase(m()) for m in SYSTEMS.values()])
    structures = structures.replace(
        positions=0.7 * structures.positions, cell=0.7 * structures.cell
    )
    graph = radius_graph(structures, CUTOFF)
    vectors = graph.vectors.clone().requires_grad_()
    graph.__dict__["vectors"] = vectors
    energy = zbl(graph)
    (expected,) = torch.autograd.grad(energy.sum(), vectors)
    found, by_edge = zbl.with_gradient(graph)
    assert expected.abs().max() > 1
    assert torch.allclose(found, energy.detach(), rtol=1e-13)
    assert torch.allclose(by_edge, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("symbols", ["FeO", "H2", "Cs2"])
def test_two_derivatives_vanish_at_the_reach(symbols):
    """The energy falls with the third power of the distance to it; also where the cutoff is."""
    z_i, z_j = Atoms(symbols).numbers
    cutoff = 4.0
    reach = min(cutoff, covalent_radii[z_i] + covalent_radii[z_j])
    zbl = ZBL(ELEMENTS, cutoff)

    def energy(r: float) -> float:
        return float(zbl(graph_of(dimer(z_i, z_j, r))).sum())

    assert energy(reach - 2e-3) / energy(reach - 1e-3) == pytest.approx(8, rel=0.05)
    assert energy(reach) == energy(reach + 0.1) == 0


def test_supercells_have_as_much_more():
    atoms = crystal()
    atoms.set_cell(0.6 * atoms.cell.array, scale_atoms=True)
    zbl = ZBL([11, 17], CUTOFF)
    one, many = (zbl(graph_of(a)) for a in (atoms, atoms.repeat((2, 1, 3))))
    assert one.min() > 0
    assert torch.allclose(many, one.repeat(6), rtol=1e-12)


def test_padding_and_candidates_change_nothing():
    atoms = crystal()
    atoms.set_cell(0.8 * atoms.cell.array, scale_atoms=True)
    zbl, graph = ZBL([11, 17], 4.0), radius_graph(from_ase(atoms), 4.0)
    expected = zbl(graph)
    longer = radius_graph(from_ase(atoms), CUTOFF)
    assert torch.allclose(zbl(longer), expected, rtol=1e-13)
    padded = pad(graph)
    assert len(padded.center) > len(graph.center)
    energy, by_edge = zbl.with_gradient(padded)
    assert torch.allclose(energy, expected, rtol=1e-13)
    assert not by_edge[len(graph.center) :].any()


def test_stays_in_double_precision():
    zbl = ZBL([1, 8], CUTOFF).float()
    assert zbl(graph_of(dimer(1, 8, 0.5))).dtype == torch.float64
    assert zbl.radii.dtype == torch.float64
    assert not zbl.state_dict()


def test_elements_without_a_radius_are_refused():
    with pytest.raises(ConfigError, match="Lr"):
        ZBL([1, 103], CUTOFF)
    with pytest.raises(ConfigError, match="Leave out the repulsion"):
        checkpoint.build("facet", GATE | {"species": [1, 8, 11, 103], "zbl": True})


@pytest.mark.parametrize("dense", [False, True])
def test_the_derivative_by_network_vectors_goes_on_as_by_autograd(monkeypatch, dense):
    if dense:
        monkeypatch.setattr(ZBL, "_near", lambda self, graph: slice(None))
    core = Core([8, 26], CUTOFF, 0.7)
    radius = 0.7 * (covalent_radii[8] + covalent_radii[26])
    graph = graph_of([dimer(8, 26, x * radius) for x in (0.4, 0.8, 0.87, 0.93, 0.99, 1.01, 1.5)])
    vectors = graph.vectors.clone().requires_grad_()
    graph.__dict__["vectors"] = vectors
    torch.manual_seed(0)
    by_vectors = torch.randn(vectors.shape, dtype=torch.float64)
    (expected,) = torch.autograd.grad(core.network_vectors(graph), vectors, by_vectors)
    assert torch.allclose(core.edge_gradient(graph, by_vectors), expected, rtol=1e-12, atol=1e-13)
    # Outside nothing changes, to the last bit.
    assert torch.equal(core.network_vectors(graph)[-4:], vectors[-4:])
    assert torch.equal(core.edge_gradient(graph, by_vectors)[-4:], by_vectors[-4:])


def test_a_core_hides_distances_smoothly():
    """Never longer than the distance outside, constant inside, with two continuous derivatives."""
    core, radius = Core([8, 26], CUTOFF, 0.7), 0.7 * (covalent_radii[8] + covalent_radii[26])
    x = torch.linspace(0.1, 1.2, 2201, dtype=torch.float64)
    graph = graph_of([dimer(8, 26, float(a) * radius) for a in x])
    s = core.network_vectors(graph)[::2].norm(dim=1) / radius
    step = float(x[1] - x[0])
    slope, curvature = s.diff() / step, s.diff(n=2) / step**2
    assert torch.allclose(s[x < STILL], s[0], rtol=1e-12)
    assert torch.allclose(s[x > 1], x[x > 1], rtol=1e-12)
    assert slope.min() > -1e-9
    assert slope.max() < 1 + 1e-9
    assert curvature.abs().max() > 9
    assert curvature.diff().abs().max() < 0.2


def test_nothing_a_network_learns_attracts_inside_of_a_core():
    torch.manual_seed(0)
    bare, cored = (
        in_units(-50.0, Conservative(checkpoint.build("nequip", SEVENNET | changes)))
        for changes in ({}, {"core": 0.5})
    )
    cored.network.load_state_dict(bare.network.state_dict())
    radius = 0.5 * (covalent_radii[8] + covalent_radii[11])

    def pull(potential: Conservative, r: float) -> float:
        """Force along the bond on the second atom, in eV/Å."""
        forces = potential(
            potential.double().featurize(from_ase(Atoms([8, 11], [[0, 0, 0], [0, 0, r]])))
        )["forces"]
        return -float(forces[1, 2].detach())

    inside = [0.1, 0.3, 0.5, 0.7, 0.84]
    assert max(pull(bare, x * radius) for x in inside) > 0
    assert max(pull(cored, x * radius) for x in inside) < 0
    assert pull(cored, 1.01 * radius) == pull(bare, 1.01 * radius)


@pytest.mark.parametrize("part", [0.0, -1.0])
def test_a_core_has_a_size(part):
    with pytest.raises(ConfigError, match="positive `core`"):
        checkpoint.build("nequip", SEVENNET | {"core": part})


def model(**changes) -> Conservative:
    torch.manual_seed(0)
    return Conservative(checkpoint.build("facet", GATE | changes).double()).eval()


def in_units(scale: float, potential: Conservative) -> Conservative:
    """The potential with what it learns in other units."""
    references_of(potential).scale.fill_(scale)
    return potential


def test_facet_adds_it_to_what_it_learns():
    """On both paths, of inference and of training, and in the stress."""
    bare, repelled = model(), model(zbl=True)
    structures = from_ase(
        Atoms("ONaCl", [[0, 0, 0], [1.4, 0, 0], [0, 2.1, 0]], cell=[9] * 3, pbc=1)
    )
    graph = bare.featurize(structures)
    assert repelled.network.edge_gradient(graph) is not None
    added = ZBL(GATE["species"], GATE["cutoff"])(graph)
    before, after = bare(graph), repelled(graph)
    assert added.sum() > 1
    assert torch.allclose(after["atom_energy"], before["atom_energy"] + added, rtol=1e-12)
    repelled.analytic = False
    slow = repelled(graph)
    for key in ("energy", "forces", "stress"):
        assert torch.allclose(after[key], slow[key], rtol=1e-9, atol=1e-10), key
    assert (after["forces"] - before["forces"]).abs().max() > 1


def test_the_self_check_does_not_hide_behind_it(monkeypatch, caplog):
    """The repulsion of the probe's atoms is much larger than an error of what was learnt."""
    right = passes.reverse

    def wrong(*arguments):
        by_lengths, by_harmonics = right(*arguments)
        return 1.01 * by_lengths, 1.01 * by_harmonics

    monkeypatch.setattr(passes, "reverse", wrong)
    potential = model(zbl=True).float()
    with caplog.at_level(logging.WARNING):
        assert potential.network.edge_gradient(potential.featurize(from_ase(crystal()))) is None
    assert "self-check failed" in caplog.text


def test_facet_never_lets_atoms_touch():
    """A network that attracts as it may is overcome at short distances."""
    potential = in_units(-20.0, model(zbl=True))
    energy = [
        float(potential(potential.featurize(from_ase(dimer(8, 11, r))))["energy"])
        for r in (0.3, 0.2, 0.1, 0.05)
    ]
    assert energy == sorted(energy)
    assert energy[-1] > 1000
