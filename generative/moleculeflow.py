"""MoleculeFlow: a joint flow from noise to the atoms, charges, bonds and positions of molecules.

Positions go along straight lines from a normal distribution, in the order and orientation nearest
to the molecule (Song et al., NeurIPS 2023; Klein et al., NeurIPS 2023); elements, formal charges
and bonds are uncovered, in sampling the surest first (Chang et al., CVPR 2022, MaskGIT) and at half
the temperature, and now and then covered again (Campbell et al., ICML 2024).
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
from matkit.generative.parts.embedding import withhold
from matkit.generative.parts.given import check_scaffold, given_by, random_given
from matkit.generative.parts.joint_path import Jumps, joint_path, joint_start, joint_step
from matkit.generative.parts.layout import pad
from matkit.generative.parts.losses import atom_error
from matkit.generative.parts.masked import covered_error
from matkit.generative.parts.molecule_network import MoleculeNetwork, MoleculeSize
from matkit.generative.parts.molecules import (
    Classes,
    DenseMolecules,
    molecule_kinds,
    pair_mask,
)
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.interfaces import Condition, Generator
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
        temperature: Of the classes drawn in sampling, 1 as the network says.
        properties: Mean and standard deviation of each property that molecules can be asked for.
        withheld: Part of the training set from which a property is withheld, each by itself.
    """

    domain = "molecule"
    inputs = frozenset({"n_atoms", "species", "scaffold", "properties"})
    required = frozenset({"n_atoms"})
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
        temperature: float = 0.5,
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
        check_positive(max_atoms=max_atoms, spread=spread, temperature=temperature)
        check_not_negative(
            species_weight=species_weight,
            charge_weight=charge_weight,
            bond_weight=bond_weight,
            churn=churn,
        )
        self.species, self.max_atoms = tuple(species), max_atoms
        self.classes = Classes(self.species, tuple(charges), tuple(orders))
        self.spread, self.withheld = spread, withheld
        self.jumps = Jumps(churn, temperature)
        self.formulas, self.scaffolds = formulas, scaffolds
        self.weights = (species_weight, charge_weight, bond_weight)
        self.properties = tuple(sorted(properties or {}))
        size = MoleculeSize(width, pair_width, points, heads, layers)
        self.network = MoleculeNetwork(size, self.classes.counts, properties or {})

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return the charges, bond orders and the spread of the coordinates of a training set."""
        return molecule_kinds(structures)

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of the predicted ends at random times."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        time = noise.uniform().sqrt()  # Beta(2, 1): the late times are the difficult ones
        properties = {name: structures.system[name] for name in self.properties}
        values = withhold(properties, self.withheld, noise) if properties else {}
        data, hydrogen = self._data(structures)
        given = random_given(data, hydrogen, (self.formulas, self.scaffolds), noise)
        data = replace(data, positions=centred(data.positions, given.anchor, data.mask))
        start = joint_start(data, given, noise, pairing=True)
        now, covered = joint_path(start, data, given, time, noise)
        late = time.to(self.dtype)
        previous, known = self.network.repeated(now, noise.uniform() < REPEATED, late, values)
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
        like = self.network.to_position
        noise = Noise(seeds.to(like.device))
        known, given, center = given_by(condition, self.classes, self.spread, like)
        with torch.no_grad():
            now = replace(known, positions=joint_start(known, given, noise, pairing=False))
            end, heard = now, torch.zeros_like(noise.keys, dtype=torch.bool)
            for step in range(steps):
                time = torch.full_like(noise.keys, step / steps, dtype=like.dtype)
                end = self.network.guided(now, (end, heard), time, condition)
                now = joint_step(now, end, given, (step, steps), self.jumps, noise)
                end, heard = end.probabilities(), torch.ones_like(heard)
        return self.classes.structures(replace(now, positions=self.spread * now.positions + center))

    def check_condition(self, condition: Condition) -> None:
        """Raise if the generator cannot keep to the condition.

        Raises:
            UnknownElementError, ConfigError: as for every generator, and `check_scaffold`.
            StructureError: a scaffold has bonds or charges that are not known.
        """
        super().check_condition(condition)
        check_scaffold(condition, self.species)
        if condition.scaffold is not None:
            self.classes.dense(condition.scaffold, self.dtype)

    def _data(self, structures: Structures) -> tuple[DenseMolecules, Bool[Tensor, "B n"]]:
        """Return molecules in units of the spread, and which atoms are hydrogens."""
        data = self.classes.dense(structures, self.dtype)
        hydrogen = pad(structures.species == 1, data.mask)
        return replace(data, positions=data.positions / self.spread), hydrogen

    def _told(self, value: Float[Tensor, " B"], noise: Noise) -> Float[Tensor, " B"]:
        """Return a property, NaN where it is withheld."""
        return torch.where(noise.uniform() < self.withheld, torch.nan, value.double())
