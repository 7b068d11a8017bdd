"""Radial networks of the NequIP family replaced by linear maps (Miklaucic et al. 2025).

Most parameters that are not mixing matrices, and most work of training, are in the perceptrons
from a few Bessel functions to the weights of all couplings. Over the distances that occur between
atoms, linear maps of some more Bessel functions give nearly the same weights; least squares finds
them without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import ConfigError, StructureError
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.structures import Structures

# Prototype and lattice constant in Å of the crystals whose distances are fitted by default.
ELEMENTS = ("Ag", "Al", "C", "Cu", "Fe", "Li", "Mg", "Na", "Si", "Ti", "W")
COMPOUNDS = {
    "CaF2": ("fluorite", 5.46),
    "CeO2": ("fluorite", 5.41),
    "CsCl": ("cesiumchloride", 4.12),
    "GaAs": ("zincblende", 5.65),
    "KCl": ("rocksalt", 6.29),
    "LiF": ("rocksalt", 4.03),
    "MgO": ("rocksalt", 4.21),
    "NaCl": ("rocksalt", 5.64),
    "SiC": ("zincblende", 4.36),
    "TiN": ("rocksalt", 4.24),
    "ZnS": ("zincblende", 5.41),
}
RATTLE = 0.1  # standard deviation of the atoms' displacements, Å


@dataclass(frozen=True)
class TrimReport:
    """What trimming changed.

    Attributes:
        r2: Fraction of the variance of the radial weights that each layer's map reproduces.
        parameters: Number of them before and after.
        energy_mae: Mean difference of energies, eV/atom.
        forces_mae: Mean difference of force components, eV/Å.
        mean_force: Mean magnitude of the original's force components, eV/Å, to compare with.
        structures: Number of structures that were fitted and compared.
    """

    r2: list[float]
    parameters: tuple[int, int]
    energy_mae: float
    forces_mae: float
    mean_force: float
    structures: int

    @property
    def saved(self) -> float:
        """Fraction of the parameters that is gone."""
        return 1 - self.parameters[1] / self.parameters[0]

    def text(self) -> str:
        """Return what a user of the model should know."""
        return (
            f"Radial networks replaced by linear maps: {self.parameters[0]} -> "
            f"{self.parameters[1]} parameters ({-self.saved:+.1%}), R² per layer "
            f"{', '.join(f'{r2:.4f}' for r2 in self.r2)}. Differs from the original by "
            f"{1000 * self.energy_mae:.2g} meV/atom and {1000 * self.forces_mae:.2g} meV/Å "
            f"(mean of the {self.structures} structures fitted, where forces are "
            f"{1000 * self.mean_force:.0f} meV/Å); fine-tune it before use."
        )

    def row(self) -> dict[str, Any]:
        """Return all numbers."""
        return asdict(self) | {"saved": self.saved}


def trim(
    network: Potential, crystals: Sequence[Atoms], basis_size: int = 12
) -> tuple[Potential, TrimReport]:
    """Return the network with linear radial maps, and what that changed.

    Args:
        network: NequIP with hidden radial layers; not changed.
        crystals: Structures whose distances are fitted and whose energies are compared.
        basis_size: Number of Bessel functions of the maps: the network's own, and more.

    Raises:
        ConfigError: the network is of another kind or trimmed already, or the basis too small.
        StructureError: the structures have too few distances.
    """
    settings = _settings(network, basis_size)
    exact = _copy(network, *_recipe(network)).double()
    trimmed = checkpoint.build("nequip", settings).double()
    lengths = _lengths(exact, crystals)
    if len(lengths) < 10 * basis_size:
        raise StructureError(
            f"{len(lengths)} distances below {network.cutoff} Å are too few to fit {basis_size} "
            "functions; give larger or more structures."
        )
    r2 = _refit(exact, trimmed, lengths)
    differences = _compare(exact, trimmed, crystals)
    counts = (_count(network), _count(trimmed))
    report = TrimReport(r2, counts, *differences, len(crystals))
    return trimmed.to(network.dtype).eval(), report


def default_crystals(species: Sequence[int]) -> list[Atoms]:
    """Return rattled crystals of common structure types, those made of the given elements."""
    made = [bulk(name).repeat(2) for name in ELEMENTS]
    made += [bulk(name, kind, a=a, cubic=True) for name, (kind, a) in COMPOUNDS.items()]
    known = [atoms for atoms in made if set(atoms.numbers.tolist()) <= set(species)]
    for seed, atoms in enumerate(known):
        atoms.rattle(RATTLE, seed=seed)
    return known


def _recipe(network: Potential) -> tuple[str, dict[str, Any]]:
    if network.recipe is None or network.recipe[0] != "nequip":
        name = network.recipe[0] if network.recipe else type(network).__name__
        raise ConfigError(f"Only models of the NequIP family can be trimmed, not {name!r}.")
    return network.recipe


def _settings(network: Potential, basis_size: int) -> dict[str, Any]:
    """Return the hyper-parameters of the trimmed network."""
    _, settings = _recipe(network)
    layer: Any = network.get_submodule("interactions.0.radial")
    own, *hidden = (len(weight) for weight in layer.weights)
    if not hidden:
        raise ConfigError("The radial maps of this model are linear already.")
    if basis_size < own:
        raise ConfigError(
            f"Expected a basis of at least {own} functions, which is what the model has, got "
            f"{basis_size}."
        )
    # Without an activation the read-out is one linear map, whatever its hidden size.
    readout = {} if settings.get("readout_activation") else {"readout_hidden": 0}
    return settings | {"radial_hidden": [], "basis_size": basis_size} | readout


def _copy(network: Potential, name: str, settings: dict[str, Any]) -> Potential:
    copied = checkpoint.build(name, settings)
    copied.load_state_dict(network.state_dict())
    return copied


def _lengths(network: Potential, crystals: Sequence[Atoms]) -> Tensor:
    vectors = [network.featurize(from_ase(atoms)).vectors for atoms in crystals]
    return torch.cat([torch.zeros(0, dtype=torch.float64), *(v.norm(dim=1) for v in vectors)])


@torch.no_grad()
def _refit(exact: Any, trimmed: Any, lengths: Tensor) -> list[float]:
    """Set the parameters of the trimmed network; return R² per layer."""
    state = {key: value for key, value in exact.state_dict().items() if ".radial." not in key}
    own, wanted = exact.basis.frequencies, len(trimmed.basis.frequencies)
    # The new functions go on in frequency at the spacing of the last two.
    more = own[-1] + (own[-1] - own[-2]) * torch.arange(1, wanted - len(own) + 1)
    state["basis.frequencies"] = torch.cat([own, more])
    if len(exact.readout.weights) != len(trimmed.readout.weights):
        del state["readout.weights.1"]
        folded = exact.readout(torch.eye(len(exact.readout.weights[0]), dtype=own.dtype))
        state["readout.weights.0"] = folded * sqrt(len(folded))
    trimmed.load_state_dict(state, strict=False)
    r2 = []
    basis = trimmed.enveloped_basis(lengths)
    for old, new in zip(exact.interactions, trimmed.interactions, strict=True):
        target = old.radial(exact.enveloped_basis(lengths))
        solution = torch.linalg.lstsq(basis, target, driver="gelsd").solution
        new.radial.weights[0].copy_(solution * sqrt(len(solution)))
        residual, spread = target - basis @ solution, target - target.mean(dim=0)
        r2.append(float(1 - residual.square().sum() / spread.square().sum()))
    return r2


def _compare(
    old: Potential, new: Potential, crystals: Sequence[Atoms]
) -> tuple[float, float, float]:
    """Return mean differences of energies (eV/atom) and forces (eV/Å), and the mean force."""
    structures = [from_ase(atoms) for atoms in crystals]
    pairs = [(_predict(old, s), _predict(new, s)) for s in structures]
    energies = [(a["energy"] - b["energy"]).abs() / len(a["forces"]) for a, b in pairs]
    forces = torch.cat([(a["forces"] - b["forces"]).abs() for a, b in pairs])
    magnitude = torch.cat([a["forces"].abs() for a, _ in pairs])
    return float(torch.cat(energies).mean()), float(forces.mean()), float(magnitude.mean())


def _predict(network: Potential, structures: Structures) -> dict[str, Tensor]:
    model = force_field(network).eval()
    return {**model(model.featurize(structures))}


def _count(network: Potential) -> int:
    return sum(p.numel() for p in network.parameters())
