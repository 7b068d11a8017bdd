"""CrystalFlow: a flow from noise to crystals in some tens of steps.

Luo et al., Nat. Commun. 2025 (arXiv:2412.11693). Coordinates go along shortest ways on the torus
(Chen & Lipman, ICLR 2024), the lattice along straight lines in the logarithm of its symmetric part.
The network learns the velocity; sampling integrates it, faster towards the end for the coordinates
(anti-annealing). Species, if asked for, are uncovered one by one (parts/masked.py). One network
can do both, find species and be given them.

Deviations: the network sees lattices, and predicts their velocity, in units of the prior's spread
(else it overlooks the prior: 0.1 is little beside features of order one); that prior may be the
one of the training set, at the volume per atom, since averages over atoms do not tell a network how
many there are; time is embedded as 1000 t; plane waves occur once, those along the axes not again
among the mixed ones; species follow a masked flow, not a straight one between places in the
periodic table; atoms of a species and their noise are paired (parts/pairing.py); anti-annealed
steps do not overshoot; lattices may start nearer to the mean of the prior than in training.
Crystals can be kept to a space group (parts/symmetry.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generative.parts.denoiser import Denoiser, Noisy, Size
from matkit.generative.parts.embedding import withhold
from matkit.generative.parts.lattice import LatticeUnits, lattice_scale
from matkit.generative.parts.layout import atom_mask, crystals
from matkit.generative.parts.losses import atom_error, system_error
from matkit.generative.parts.masked import cover, covered_error, uncover
from matkit.generative.parts.pairing import nearest_pairs
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.generative.parts.straight import straight_path
from matkit.generative.parts.symmetry import Symmetry, in_double, symmetry_of
from matkit.generative.parts.torus import mean_free, torus_path, wrap
from matkit.interfaces import Condition, Generator
from matkit.nn.arguments import check_not_negative, check_positive
from matkit.structures import Structures

# Mean and standard deviation of the lattice at time 0: a cube of edge e Å, give or take a tenth.
CENTER, SPREAD = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0), 0.1


class CrystalFlow(Generator):
    """Flow model of crystals.

    Args:
        species: Atomic numbers to know.
        max_atoms: Atoms in the largest crystal of the training set.
        generates_species: Whether species can be generated.
        given: Part of the training crystals whose species are given all the same.
        width: Features of an atom.
        layers: Rounds of messages.
        harmonics: Plane waves along each axis.
        miller: Bound of the indices of mixed plane waves; 0 for none.
        time_channels: Features of time.
        lattice_weight: Weight of the lattice in the loss, for errors in units of log(length).
        coordinate_weight: Weight of the coordinates in the loss.
        species_weight: Weight of the species in the loss.
        pairing: Whether atoms of a species are nearest_pairs with the nearest noise in training.
        slope: Anti-annealing: coordinates move 1 + slope t times as fast in sampling, but no step
            goes beyond where the flow would end.
        temperature: How far lattices start from the mean of the prior in sampling for given
            species: 1 follows the distribution of the training set, less prefers what is likely.
        properties: Mean and standard deviation of each property that crystals can be asked for.
        withheld: Part of the training set from which a property is withheld, each by itself.
        lattice: Mean and standard deviation of the prior of the lattice divided by the cube root
            of the number of atoms; None for the published prior, whatever the number of atoms.
    """

    steps = 100

    def __init__(
        self,
        species: Sequence[int],
        max_atoms: int = 20,
        generates_species: bool = False,
        given: float = 0.0,
        width: int = 512,
        layers: int = 6,
        harmonics: int = 256,
        miller: int = 8,
        time_channels: int = 256,
        lattice_weight: float = 1.0,
        coordinate_weight: float = 10.0,
        species_weight: float = 1.0,
        pairing: bool = True,
        slope: float = 5.0,
        temperature: float = 1.0,
        properties: Mapping[str, Sequence[float]] | None = None,
        withheld: float = 0.3,
        lattice: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.species, self.max_atoms = tuple(species), max_atoms
        if not 0 <= given <= 1:
            raise ConfigError(f"Expected `given` between 0 and 1, got {given}.")
        check_positive(max_atoms=max_atoms, temperature=temperature)
        check_not_negative(
            lattice_weight=lattice_weight,
            coordinate_weight=coordinate_weight,
            species_weight=species_weight,
            slope=slope,
            miller=miller,
        )
        self.given, self.pairing = given, pairing
        self.required = frozenset({"n_atoms"} if generates_species else {"n_atoms", "species"})
        self.inputs = (
            self.required
            | {"space_group", "position", "properties"}
            | ({"species"} if given else set())
        )
        self.properties, self.withheld = tuple(sorted(properties or {})), withheld
        self.weights = (lattice_weight, coordinate_weight, species_weight)
        self.slope, self.temperature = slope, temperature
        size = Size(width, layers, harmonics, time_channels, miller)
        self.network = Denoiser(size, self.species, (6, 6), generates_species, properties or {})
        center, spread = lattice if lattice is not None else (CENTER, [SPREAD] * 6)
        self.units = LatticeUnits(center, spread, scaled=lattice is not None)

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return the prior of the lattice that fits a training set, never below the tenth."""
        return {"lattice": lattice_scale(structures.cell, structures.n_atoms, SPREAD)}

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of the predicted velocities at random times."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        properties = {name: structures.system[name] for name in self.properties}
        values = withhold(properties, self.withheld, noise)
        time = noise.uniform().to(self.dtype)
        lattice = self.units.numbers(structures.cell, structures.n_atoms)
        data = self.network.clean(structures, lattice)
        base, n = self._base(data.mask, noise), data.mask.shape[1]
        if self.pairing:
            start = nearest_pairs(base.fractional, data.fractional, data.species, data.mask)
            base = replace(base, fractional=start)
        now, velocity = _path(base, data, time)
        if self.generates_species:
            known, draw = torch.where(noise.uniform() < self.given, 1, time), noise.uniform(n)
            species, covered = cover(data.species, known, draw, data.mask)
            now = replace(now, species=species)
        predicted = self.network(now, time, values)
        drift, spread = (
            mean_free(predicted.coordinates, data.mask),
            self.units.spread.to(self.dtype),
        )
        errors = {
            "lattice": system_error(spread * predicted.lattice, spread * velocity.lattice),
            "coordinates": atom_error(drift, velocity.fractional, data.mask),
        }
        if predicted.species is not None:
            errors["species"] = covered_error(predicted.species, data.species, covered, data.mask)
        weights = zip(errors.items(), self.weights, strict=False)  # species may be given
        return {name: weight * error for (name, error), weight in weights}

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw crystals by integrating the velocity with Euler's method: one network call a step.

        Raises:
            ConfigError: no step is asked for, or as `check_condition`.
        """
        self.check_condition(condition)
        if steps < 1:
            raise ConfigError(f"Expected at least one sampling step, got {steps}.")
        noise = Noise(seeds.to(self.units.center.device))
        symmetry = symmetry_of(condition, self.max_atoms, noise)
        mask = atom_mask(condition.sizes.to(self.units.center.device))
        with torch.no_grad():
            state = self._base(mask, noise)
            if condition.species is not None:
                given = self.network.one_hot(condition.species.to(mask.device), mask)
                state = replace(state, species=given, lattice=self.temperature * state.lattice)
            if symmetry is not None:
                state = self._kept(symmetry.started(state), symmetry)
            for step in range(steps):
                state = self._advance(state, (step, steps), condition, noise, symmetry)
            state = self._kept(in_double(state), symmetry)
        species = self.network.most_likely(state.species)
        cells = self.units.cells(state.lattice, condition.sizes.to(mask.device))
        return crystals(state.fractional, cells, species, mask)

    def _base(self, mask: Bool[Tensor, "B n"], noise: Noise) -> Noisy:
        """Return crystals at time 0: covered species, normal lattices, uniform coordinates."""
        fractional = noise.uniform(mask.shape[1], 3).to(self.dtype)
        lattice = noise.normal(6).to(self.dtype)
        species = lattice.new_zeros(*mask.shape, len(self.species))
        return Noisy(species, fractional, lattice, mask)

    def _advance(
        self,
        state: Noisy,
        progress: tuple[int, int],
        condition: Condition,
        noise: Noise,
        symmetry: Symmetry | None,
    ) -> Noisy:
        """Return the crystals one step later, given how many steps are done and how many in all."""
        done, steps = progress
        time, step = done / steps, 1 / steps
        now = torch.full_like(state.lattice[:, 0], time)
        velocity = self.network.guided(state, now, condition.properties, condition.guidance)
        if symmetry is not None:
            velocity = symmetry.averaged(velocity)
        drift = mean_free(velocity.coordinates, state.mask)
        # Never beyond the predicted end: the last steps would overshoot.
        speed = min(1 + self.slope * time, steps - done)
        species = state.species
        if velocity.species is not None and condition.species is None:
            draw = noise.uniform(species.shape[1], 1 + species.shape[2])
            draw = draw if symmetry is None else symmetry.of_anchor(draw)
            species = uncover(species, velocity.species, 1 / (steps - done), draw)
        moved = replace(
            state,
            species=species,
            fractional=state.fractional + step * speed * drift,
            lattice=state.lattice + step * velocity.lattice,
        )
        return self._kept(moved, symmetry)

    def _kept(self, state: Noisy, symmetry: Symmetry | None) -> Noisy:
        """Return the crystals within the cell, or as their space groups have them."""
        if symmetry is None:
            return replace(state, fractional=wrap(state.fractional))
        k = symmetry.logarithm(self.units.logarithm(state.lattice))
        return replace(
            state,
            fractional=symmetry.settle(state.fractional),
            lattice=self.units.standard(k).to(state.lattice),
        )


def _path(base: Noisy, data: Noisy, time: Float[Tensor, " B"]) -> tuple[Noisy, Noisy]:
    """Return the crystals between noise and data at `time`, and the velocity; species are known."""
    fractional, by_fractional = torus_path(base.fractional, data.fractional, time, data.mask)
    lattice, by_lattice = straight_path(base.lattice, data.lattice, time)
    now = replace(data, fractional=fractional, lattice=lattice)
    return now, replace(data, fractional=by_fractional, lattice=by_lattice)
