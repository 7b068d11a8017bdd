"""EDM: diffusion of atoms, charges, bonds and positions of molecules, Gaussian or of PFGM++.

Equivariant diffusion of molecules (Hoogeboom et al., ICML 2022) with the noise levels, the
preconditioning and Heun's sampler of Karras et al. (NeurIPS 2022). The law of the noise is one
number: D extra dimensions (PFGM++, Xu et al., ICML 2023), infinite for Gaussian noise.

Deviations from Hoogeboom et al.: the network (parts/molecule_network.py); bonds are drawn too;
classes are one-hot vectors for charges as well, and the network says their probabilities, whose
mean the denoiser is. Each field has a radius of its own under the law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generative.parts.alignment import centred
from matkit.generative.parts.embedding import withhold
from matkit.generative.parts.layout import atom_mask
from matkit.generative.parts.losses import atom_error
from matkit.generative.parts.masked import covered_error
from matkit.generative.parts.molecule_network import MoleculeNetwork, MoleculeSize
from matkit.generative.parts.molecules import Classes, DenseMolecules, molecule_kinds, pair_mask
from matkit.generative.parts.noise_laws import law_noise
from matkit.generative.parts.preconditioning import (
    State,
    heun,
    noise_levels,
    preconditioning,
)
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.interfaces import Condition, Generator
from matkit.nn.arguments import check_not_negative, check_positive
from matkit.structures import Structures

# Standard deviation of coordinates in units of their spread, and about that of one-hot vectors.
POSITIONS, CLASSES = 1.0, 0.5
SMALLEST, LARGEST = 0.002, 40.0  # noise levels of sampling


class EDM(Generator):
    """Diffusion model of molecules.

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
        extra_dimensions: D of PFGM++; None for Gaussian noise.
        level: Mean of the logarithm of the noise level in training.
        level_spread: Its standard deviation.
        class_weight: Weight of elements, charges and bonds in the loss.
        properties: Mean and standard deviation of each property that molecules can be asked for.
        withheld: Part of the training set from which a property is withheld, each by itself.
    """

    domain = "molecule"
    inputs = frozenset({"n_atoms", "properties"})
    required = frozenset({"n_atoms"})
    steps = 40
    calls_per_step = 2

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
        extra_dimensions: float | None = None,
        level: float = -0.5,
        level_spread: float = 1.2,
        class_weight: float = 0.5,
        properties: Mapping[str, Sequence[float]] | None = None,
        withheld: float = 0.7,
    ) -> None:
        super().__init__()
        if not 0 <= withheld <= 1:
            raise ConfigError(f"Expected `withheld` between 0 and 1, got {withheld}.")
        check_positive(max_atoms=max_atoms, spread=spread, level_spread=level_spread)
        check_not_negative(class_weight=class_weight)
        self.species, self.max_atoms = tuple(species), max_atoms
        self.classes = Classes(self.species, tuple(charges), tuple(orders))
        self.spread, self.withheld, self.class_weight = spread, withheld, class_weight
        self.extra = inf if extra_dimensions is None else float(extra_dimensions)
        if self.extra <= 2:  # the noise would have no variance
            raise ConfigError(f"Expected `extra_dimensions` above 2, got {extra_dimensions}.")
        self.level, self.level_spread = level, level_spread
        self.properties = tuple(sorted(properties or {}))
        size = MoleculeSize(width, pair_width, points, heads, layers)
        self.network = MoleculeNetwork(size, self.classes.counts, properties or {})

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return the charges, bond orders and the spread of the coordinates of a training set."""
        return molecule_kinds(structures)

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of the denoiser at random noise levels (Karras et al., eq. 8)."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        sigma = torch.exp(self.level + self.level_spread * noise.normal())
        properties = {name: structures.system[name] for name in self.properties}
        values = withhold(properties, self.withheld, noise) if properties else {}
        data = self.classes.dense(structures, self.dtype)
        positions = centred(data.positions / self.spread, data.mask, data.mask)
        data = replace(data, positions=positions)
        clean = [data.species, data.charges, data.bonds, data.positions]
        drawn = self._noise(data.mask, noise)
        now = [x + sigma.view(-1, 1, 1) * z for x, z in zip(clean, drawn, strict=True)]
        condition = Condition(n_atoms=structures.n_atoms, properties=values)
        end = self._ends(now, sigma, data.mask, condition)
        terms = {
            "species": covered_error(end.species, data.species, data.mask, data.mask),
            "charges": covered_error(end.charges, data.charges, data.mask, data.mask),
        }
        pairs = pair_mask(data.mask)
        per_atom = (data.mask.sum(dim=1) - 1) / 2  # pairs of an atom
        terms["bonds"] = covered_error(end.bonds, data.bonds, pairs, pairs) * per_atom
        weight = preconditioning(sigma, POSITIONS).weight.flatten().to(self.dtype)
        aim = positions.to(self.dtype)
        error = weight * atom_error(end.positions, aim, data.mask)
        return {"positions": error, **{n: self.class_weight * e for n, e in terms.items()}}

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw molecules along the probability flow: two network calls a step.

        Raises:
            ConfigError: no step is asked for, or as `check_condition`.
        """
        self.check_condition(condition)
        if steps < 1:
            raise ConfigError(f"Expected at least one sampling step, got {steps}.")
        noise = Noise(seeds.to(self.network.to_position.device))
        mask = atom_mask(condition.sizes.to(noise.keys.device))
        levels = noise_levels(SMALLEST, LARGEST, steps).tolist()
        start = [levels[0] * z.to(torch.float64) for z in self._noise(mask, noise)]

        def denoise(state: State, sigma: float) -> State:
            level = torch.full_like(noise.keys, sigma, dtype=torch.float64)
            end = self._ends(state, level, mask, condition).probabilities()
            return [x.double() for x in (end.species, end.charges, end.bonds, end.positions)]

        with torch.no_grad():
            species, charges, bonds, positions = heun(start, levels, denoise)
        made = DenseMolecules(species, charges, bonds, self.spread * positions, mask)
        return self.classes.structures(made)

    def _noise(self, mask: Tensor, noise: Noise) -> State:
        """Return noise of unit scale of all fields under the law."""
        n, pairs = mask.shape[1], pair_mask(mask)
        drawn = []
        for count, there in zip(self.classes.counts, (mask, mask, pairs), strict=True):
            normal = noise.normal(there.shape[1], count)
            drawn.append(law_noise(normal, there, count * there.sum(dim=1), self.extra))
        middle = centred(noise.normal(n, 3) * mask.unsqueeze(2), mask, mask)
        drawn.append(law_noise(middle, mask, 3 * (mask.sum(dim=1) - 1), self.extra))
        return drawn

    def _ends(
        self, state: State, sigma: Float[Tensor, " B"], mask: Tensor, condition: Condition
    ) -> DenseMolecules:
        """Return the denoiser: logits of all classes, and positions about the centre."""
        own, classes = preconditioning(sigma, POSITIONS), preconditioning(sigma, CLASSES)
        species, charges, bonds = ((classes.into * x).to(self.dtype) for x in state[:3])
        seen = own.into * state[3]
        now = DenseMolecules(species, charges, bonds, seen.to(self.dtype), mask)
        nobody = torch.zeros_like(sigma, dtype=torch.bool)
        clock = (sigma.log() / 4).to(self.dtype)
        end = self.network.guided(now, (now, nobody), clock, condition)
        move = centred(end.positions.double() - seen, mask, mask)
        positions = own.skip * state[3] + own.out * move
        return replace(end, positions=positions.to(self.dtype))
