"""MoleculeFlow: a joint flow from noise to the atoms, charges, bonds and positions of molecules.

Positions go along straight lines from a normal distribution, in the order and orientation nearest
to the molecule (Song et al., NeurIPS 2023; Klein et al., NeurIPS 2023); elements, formal charges
and bonds are uncovered, and in sampling now and then covered again (Campbell et al., ICML 2024).
The network predicts the end of the way and hears its last prediction (Chen, Zhang & Hinton, ICLR
2023), as in SemlaFlow (Irwin et al., AISTATS 2025) and FlowMol3 (Dunn & Koes 2025).

Deviations from these: the network (parts/molecule_network.py); squares of position errors are
weighted with 1 / (1 - t)^2, as errors of the velocity are, up to a bound; one network completes
formulas and scaffolds too: in part of the training elements are given, or a connected part of the
molecule with its positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generative.parts.alignment import centred
from matkit.generative.parts.joint_path import (
    Given,
    joint_path,
    joint_start,
    joint_step,
    random_given,
)
from matkit.generative.parts.layout import atom_mask, pad
from matkit.generative.parts.losses import atom_error
from matkit.generative.parts.masked import covered_error
from matkit.generative.parts.molecule_network import MoleculeNetwork, MoleculeSize
from matkit.generative.parts.molecules import (
    Classes,
    DenseMolecules,
    check_bonds,
    guided_ends,
    one_hot,
    pair_mask,
)
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.interfaces import Condition, Generator
from matkit.interfaces.species import check_species
from matkit.nn.arguments import check_not_negative, check_positive
from matkit.structures import Structures

# Bound of 1 - t where squared position errors are divided by it.
LATEST = 0.1
# Part of the molecules of a training step for which the network hears its last prediction.
REPEATED = 0.5


class MoleculeFlow(Generator):
    """Flow model of molecules.

    Args:
        species: Atomic numbers to know.
        max_atoms: Atoms in the largest molecule of the training set.
        width: Features of an atom.
        pair_width: Features of a pair of atoms.
        points: Points of an atom, whose distances the network sees.
        heads: Heads of the attention.
        layers: Rounds of messages.
        charges: Formal charges to know, in e.
        orders: Orders of bonds to know.
        spread: Standard deviation of the coordinates of atoms about the centre, in Å.
        formulas: Part of the training molecules whose elements are given.
        scaffolds: Part of the training molecules of which a connected part is given.
        species_weight: Weight of the elements in the loss.
        charge_weight: Weight of the formal charges in the loss.
        bond_weight: Weight of the bonds in the loss.
        churn: How often what is uncovered is covered again in sampling, per unit of time.
        properties: Mean and standard deviation of each property that molecules can be asked for.
        withheld: Part of the training set from which a property is withheld, each by itself.
    """

    domain = "molecule"
    inputs = frozenset({"n_atoms", "species", "scaffold", "properties"})
    required = frozenset({"n_atoms"})
    properties_together = False
    steps = 50

    def __init__(
        self,
        species: Sequence[int],
        max_atoms: int = 29,
        width: int = 128,
        pair_width: int = 64,
        points: int = 8,
        heads: int = 8,
        layers: int = 6,
        charges: Sequence[int] = (-1, 0, 1),
        orders: Sequence[float] = (1.0, 1.5, 2.0, 3.0),
        spread: float = 1.4,
        formulas: float = 0.1,
        scaffolds: float = 0.1,
        species_weight: float = 0.5,
        charge_weight: float = 0.5,
        bond_weight: float = 1.0,
        churn: float = 10.0,
        properties: Mapping[str, Sequence[float]] | None = None,
        withheld: float = 0.7,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"Expected `width` to be a multiple of `heads`, got {width}, {heads}."
            )
        shares = {"formulas": formulas, "scaffolds": scaffolds, "withheld": withheld}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"Expected `{name}` between 0 and 1, got {share}.")
        check_positive(max_atoms=max_atoms, spread=spread)
        check_not_negative(
            species_weight=species_weight,
            charge_weight=charge_weight,
            bond_weight=bond_weight,
            churn=churn,
        )
        self.species, self.max_atoms = tuple(species), max_atoms
        self.classes = Classes(self.species, tuple(charges), tuple(orders))
        self.spread, self.churn, self.withheld = spread, churn, withheld
        self.formulas, self.scaffolds = formulas, scaffolds
        self.weights = (species_weight, charge_weight, bond_weight)
        self.properties = tuple(sorted(properties or {}))
        size = MoleculeSize(width, pair_width, points, heads, layers)
        self.network = MoleculeNetwork(size, self.classes.counts, properties or {})

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return the charges, bond orders and the spread of the coordinates of a training set."""
        check_bonds(structures)
        mask = atom_mask(structures.n_atoms)
        positions = centred(pad(structures.positions, mask), mask, mask)[mask]
        return {
            "charges": structures.atom["formal_charge"].unique().tolist(),
            "orders": structures.bond["order"].unique().tolist(),
            "spread": float(positions.square().mean().sqrt()),
        }

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of the predicted ends at random times."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        time = noise.uniform().sqrt()  # Beta(2, 1): the late times are the difficult ones
        values = {name: self._told(structures.system[name], noise) for name in self.properties}
        data, hydrogen = self._data(structures)
        given = random_given(data, hydrogen, (self.formulas, self.scaffolds), noise)
        data = replace(data, positions=centred(data.positions, given.anchor, data.mask))
        start = joint_start(data, given, noise, pairing=True)
        now, covered = joint_path(start, data, given, time, noise)
        late = time.to(self.dtype)
        previous, known = self._previous(now, late, values, noise)
        end = self.network(now, previous, known, late, values)
        errors = {
            "species": covered_error(end.species, data.species, covered[0], data.mask),
            "charges": covered_error(end.charges, data.charges, covered[1], data.mask),
            "bonds": covered_error(end.bonds, data.bonds, covered[2], pair_mask(data.mask)),
        }
        errors["bonds"] = errors["bonds"] * (data.mask.sum(dim=1) - 1) / 2  # per atom, not pair
        terms = zip(errors.items(), self.weights, strict=True)
        aim, free = data.positions.to(self.dtype), data.mask & ~given.part
        distance = atom_error(given.settled(end.positions), aim, free)
        positions = distance / (1 - late).clamp(min=LATEST).square()
        return {"positions": positions, **{name: weight * error for (name, error), weight in terms}}

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw molecules in small steps towards the predicted ends: one network call a step.

        Atoms of a scaffold come first, where they are in the scaffold.

        Raises:
            ConfigError: no step is asked for, or as `check_condition`.
            StructureError: a scaffold has bonds or charges that are not known.
        """
        self.check_condition(condition)
        if steps < 1:
            raise ConfigError(f"Expected at least one sampling step, got {steps}.")
        device = self.network.to_position.device
        noise = Noise(seeds.to(device))
        known, given, origin = self._known(condition, device)
        with torch.no_grad():
            now = replace(known, positions=joint_start(known, given, noise, pairing=False))
            end, heard = now, torch.zeros(len(seeds), dtype=torch.bool, device=device)
            for step in range(steps):
                time = torch.full((len(seeds),), step / steps, dtype=self.dtype, device=device)
                end = self._guided(now, (end, heard), time, condition)
                now = joint_step(now, end, given, (step, steps), self.churn, noise)
                end, heard = end.probabilities(), torch.ones_like(heard)
        return self.classes.structures(replace(now, positions=self.spread * now.positions + origin))

    def check_condition(self, condition: Condition) -> None:
        """Raise if the generator cannot keep to the condition.

        Raises:
            ConfigError: as for every generator, or a scaffold leaves no atom to be made, or the
                species do not begin with those of the scaffold.
        """
        super().check_condition(condition)
        if (scaffold := condition.scaffold) is None:
            return
        check_species(scaffold.species, scaffold.batch, self.species)
        room = condition.sizes.cpu() - scaffold.n_atoms.cpu()
        if int(room.min()) < 1:
            b = int(room.argmin())
            raise ConfigError(
                f"A scaffold of {int(scaffold.n_atoms[b])} atoms leaves nothing to be made of a "
                f"molecule of {int(condition.sizes[b])}. Ask for more atoms."
            )
        if condition.species is not None:
            mask = atom_mask(condition.sizes)
            first = pad(condition.species, mask)[:, : int(scaffold.n_atoms.max())]
            part = atom_mask(scaffold.n_atoms)
            if not torch.equal(first[part], scaffold.species):
                raise ConfigError("Expected species that begin with those of the scaffold.")

    def _data(self, structures: Structures) -> tuple[DenseMolecules, Bool[Tensor, "B n"]]:
        """Return molecules in units of the spread, and which atoms are hydrogens."""
        data = self.classes.dense(structures, self.dtype)
        hydrogen = pad(structures.species == 1, data.mask)
        return replace(data, positions=data.positions / self.spread), hydrogen

    def _told(self, value: Float[Tensor, " B"], noise: Noise) -> Float[Tensor, " B"]:
        """Return a property, NaN where it is withheld."""
        return torch.where(noise.uniform() < self.withheld, torch.nan, value.double())

    def _previous(
        self,
        now: DenseMolecules,
        time: Float[Tensor, " B"],
        values: Mapping[str, Tensor],
        noise: Noise,
    ) -> tuple[DenseMolecules, Bool[Tensor, " B"]]:
        """Return an earlier prediction for some of the molecules, and for which."""
        known = noise.uniform() < REPEATED
        which = known.nonzero().squeeze(1)
        if not len(which):
            return now, known
        some = now.index(which)
        told = {name: value[which] for name, value in values.items()}
        with torch.no_grad():
            end = self.network(
                some, some, torch.zeros_like(which, dtype=torch.bool), time[which], told
            )
        return now.with_rows(which, end.probabilities()), known

    def _guided(
        self,
        now: DenseMolecules,
        previous: tuple[DenseMolecules, Bool[Tensor, " B"]],
        time: Float[Tensor, " B"],
        condition: Condition,
    ) -> DenseMolecules:
        """Predict with the properties stressed (Ho & Salimans, 2022)."""
        values, guidance = condition.properties, condition.guidance
        if not values or guidance == 0:
            return self.network(now, *previous, time, {})
        told = self.network(now, *previous, time, values)
        if guidance == 1:
            return told
        return guided_ends(told, self.network(now, *previous, time, {}), guidance)

    def _known(
        self, condition: Condition, device: torch.device
    ) -> tuple[DenseMolecules, Given, Float[Tensor, "B 1 3"]]:
        """Return what a condition gives, about its centre, and where that is in Å."""
        mask = atom_mask(condition.sizes.to(device))
        known = self.classes.empty(mask, self.dtype)
        part = torch.zeros_like(mask)
        origin = torch.zeros(len(mask), 1, 3, dtype=torch.float64, device=device)
        if condition.species is not None:
            rows = one_hot(condition.species.to(device), self.species, "element", self.dtype)
            known = replace(known, species=pad(rows, mask))
        if condition.scaffold is not None:
            dense = self.classes.dense(condition.scaffold.to(device), self.dtype)
            known, part = known.filled(dense), torch.zeros_like(mask)
            part[:, : dense.mask.shape[1]] = dense.mask
            middle = centred(known.positions, part, part)
            origin = (known.positions - middle)[:, :1]
            known = replace(known, positions=middle / self.spread)
        species = part | mask if condition.species is not None else part
        return known, Given(part, species, mask), origin
