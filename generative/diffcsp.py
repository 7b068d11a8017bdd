"""DiffCSP: joint diffusion of lattice, fractional coordinates and, if asked for, species.

Jiao, Huang, Lin, Han, Chen, Lu & Liu, NeurIPS 2023. The lattice matrix goes by DDPM towards
standard normal numbers, coordinates towards the uniform distribution by a wrapped normal of
growing width, species as one-hot vectors by DDPM. Sampling alternates one Langevin step of the
coordinates (corrector) with one step back in time of all fields (predictor).

Deviations: the expected squared score is a quadrature, not an average over random draws; species
have one channel per known element instead of a hundred; every crystal counts the same in the loss,
not every atom; fewer steps than noise levels may be sampled. Crystals can be kept to a space group
(parts/symmetry.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.generative.parts import gaussian, wrapped_normal
from matkit.generative.parts.denoiser import Denoiser, Noisy, Prediction, Size
from matkit.generative.parts.embedding import withhold
from matkit.generative.parts.lattice import product
from matkit.generative.parts.layout import atom_mask, crystals, standard_orientation
from matkit.generative.parts.losses import atom_error, system_error
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.generative.parts.schedules import cosine_signal, geometric_sigma, time_grid
from matkit.generative.parts.symmetry import Symmetry, in_double, symmetry_of
from matkit.generative.parts.torus import wrap
from matkit.interfaces import Condition, Generator
from matkit.nn.arguments import check_not_negative, check_positive
from matkit.structures import Structures


class DiffCSP(Generator):
    """Diffusion model of crystals.

    Args:
        species: Atomic numbers to know.
        max_atoms: Atoms in the largest crystal of the training set.
        generates_species: Whether species are generated (ab initio) or given (CSP).
        width: Features of an atom.
        layers: Rounds of messages.
        harmonics: Plane waves along each axis.
        time_channels: Features of time.
        levels: Noise levels T.
        sigma: Smallest and largest standard deviation of the coordinates.
        step_size: Of the corrector at the smallest noise; depends on the data set (5e-7 to 1e-5).
        species_weight: Weight of the species in the loss.
        properties: Mean and standard deviation of each property that crystals can be asked for.
        withheld: Part of the training set from which a property is withheld, each by itself.
    """

    calls_per_step = 2
    signal: Tensor
    sigmas: Tensor
    norms: Tensor

    def __init__(
        self,
        species: Sequence[int],
        max_atoms: int = 20,
        generates_species: bool = False,
        width: int = 512,
        layers: int = 6,
        harmonics: int = 128,
        time_channels: int = 256,
        levels: int = 1000,
        sigma: Sequence[float] = (0.005, 0.5),
        step_size: float = 1e-5,
        species_weight: float = 20.0,
        properties: Mapping[str, Sequence[float]] | None = None,
        withheld: float = 0.3,
    ) -> None:
        super().__init__()
        check_positive(max_atoms=max_atoms, levels=levels, step_size=step_size)
        check_not_negative(species_weight=species_weight)
        self.species, self.max_atoms = tuple(species), max_atoms
        self.required = frozenset({"n_atoms"} if generates_species else {"n_atoms", "species"})
        self.inputs = self.required | {"space_group", "position", "properties"}
        self.properties, self.withheld = tuple(sorted(properties or {})), withheld
        self.levels, self.step_size, self.species_weight = levels, step_size, species_weight
        self.steps = levels
        size = Size(width, layers, harmonics, time_channels)
        self.network = Denoiser(size, self.species, (9, 9), generates_species, properties or {})
        sigmas = geometric_sigma(sigma[0], sigma[1], levels)
        self.register_buffer("signal", cosine_signal(levels), persistent=False)
        self.register_buffer("sigmas", sigmas, persistent=False)
        self.register_buffer("norms", wrapped_normal.level_norms(sigmas), persistent=False)

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of predicted noise and score at random times (eqs. 4, 7)."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        properties = {name: structures.system[name] for name in self.properties}
        values = withhold(properties, self.withheld, noise)
        level = 1 + (noise.uniform() * self.levels).long()
        cell = standard_orientation(structures.cell)  # the one that it is to learn
        data = self.network.clean(structures, cell.flatten(1))
        draw = self.network.normal(data.mask, 9, noise)
        noisy = self._corrupt(data, draw, level)
        time = level.to(self.dtype) / self.levels
        predicted = self.network(_seen(noisy), time, values)
        sigma = self._at(self.sigmas, level)
        score = wrapped_normal.score(sigma * draw.fractional, sigma) / self._at(self.norms, level)
        terms = {
            "lattice": system_error(_turned(predicted, noisy), draw.lattice),
            "coordinates": atom_error(predicted.coordinates, score, data.mask),
        }
        if predicted.species is not None:
            error = atom_error(predicted.species, draw.species, data.mask)
            terms["species"] = self.species_weight * error
        return terms

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw crystals by predictor and corrector (algorithm 2): two network calls a step.

        Raises:
            ConfigError: there are fewer noise levels than `steps`, or as `check_condition`.
        """
        self.check_condition(condition)
        times = time_grid(self.levels, steps).tolist()
        noise = Noise(seeds.to(self.sigmas.device))
        symmetry = symmetry_of(condition, self.max_atoms, noise)
        with torch.no_grad():
            state = self._prior(condition, noise, symmetry)
            for pair in pairwise(times):
                state = self._correct(state, pair, condition, noise, symmetry)
                state = self._predict(state, pair, condition, noise, symmetry)
            state = _kept(in_double(state), symmetry)
        cell = state.lattice.view(-1, 3, 3)
        return crystals(state.fractional, cell, self.network.most_likely(state.species), state.mask)

    def _at(self, table: Float[Tensor, " T"], level: Tensor) -> Float[Tensor, "B 1 1"]:
        return table[level].to(self.dtype).view(-1, 1, 1)

    def _corrupt(self, data: Noisy, draw: Noisy, level: Int[Tensor, " B"]) -> Noisy:
        """Return the crystals with the noise of their levels."""
        signal = self.signal[level].to(self.dtype)
        shift = self._at(self.sigmas, level) * draw.fractional
        species = gaussian.corrupt(data.species, draw.species, signal)
        return Noisy(
            species=species if self.generates_species else data.species,
            fractional=wrap(data.fractional + shift),
            lattice=gaussian.corrupt(data.lattice, draw.lattice, signal),
            mask=data.mask,
        )

    def _prior(self, condition: Condition, noise: Noise, symmetry: Symmetry | None) -> Noisy:
        """Return crystals of noise alone."""
        mask = atom_mask(condition.sizes.to(self.sigmas.device))
        state = self.network.normal(mask, 9, noise)
        uniform = noise.uniform(mask.shape[1], 3).to(self.dtype)
        state = replace(state, fractional=uniform)
        if symmetry is not None:
            state = _kept(symmetry.started(state), symmetry)
        if condition.species is not None:
            species = self.network.one_hot(condition.species.to(mask.device), mask)
            state = replace(state, species=species)
        return state

    def ask(self, state: Noisy, level: int, condition: Condition) -> Prediction:
        """Return normalised score and noise of crystals that are all at one noise level."""
        time = torch.full_like(state.lattice[:, 0], level / self.levels)
        values, guidance = condition.properties, condition.guidance
        predicted = self.network.guided(_seen(state), time, values, guidance)
        return predicted._replace(lattice=_turned(predicted, state))

    def _correct(
        self,
        state: Noisy,
        levels: tuple[int, int],
        condition: Condition,
        noise: Noise,
        symmetry: Symmetry | None,
    ) -> Noisy:
        """Return the crystals after one Langevin step of the coordinates; no noise in the last."""
        late, early = levels
        score = self.ask(state, late, condition).coordinates * self.norms[late].to(self.dtype)
        size = self.step_size * (self.sigmas[late] / self.sigmas[1]).square().to(self.dtype)
        draw = noise.normal(*score.shape[1:]).to(score) * (early > 0)
        if symmetry is not None:
            score, draw = symmetry.average(score), symmetry.spread(draw)
        moved = wrapped_normal.langevin_step(state.fractional, score, size, draw)
        return _kept(replace(state, fractional=moved), symmetry)

    def _predict(
        self,
        state: Noisy,
        levels: tuple[int, int],
        condition: Condition,
        noise: Noise,
        symmetry: Symmetry | None,
    ) -> Noisy:
        """Return the crystals at the earlier of two levels."""
        late, early = levels
        predicted = self.ask(state, late, condition)
        draw = self.network.normal(state.mask, 9, noise)
        if symmetry is not None:
            predicted, draw = symmetry.averaged(predicted), symmetry.drawn(draw)
        score = predicted.coordinates * self.norms[late].to(self.dtype)
        sigmas = self.sigmas[late].to(self.dtype), self.sigmas[early].to(self.dtype)
        signals = self.signal[late].to(self.dtype), self.signal[early].to(self.dtype)
        moved = wrapped_normal.reverse_step(state.fractional, score, sigmas, draw.fractional)
        lattice = gaussian.reverse_step(state.lattice, predicted.lattice, signals, draw.lattice)
        species = state.species
        if predicted.species is not None:
            species = gaussian.reverse_step(species, predicted.species, signals, draw.species)
        return _kept(Noisy(species, moved, lattice, state.mask), symmetry)


def _kept(state: Noisy, symmetry: Symmetry | None) -> Noisy:
    """Return the crystals within the cell, or as their space groups have them."""
    if symmetry is None:
        return replace(state, fractional=wrap(state.fractional))
    fractional, lattice = symmetry.settle(state.fractional), symmetry.matrix(state.lattice)
    return replace(state, fractional=fractional, lattice=lattice)


def _seen(state: Noisy) -> Noisy:
    """Return what the network sees: lengths and angles (L L^T) in the place of lattice vectors."""
    cell = state.lattice.view(-1, 3, 3)
    return replace(state, lattice=product(cell, cell.mT).flatten(1))


def _turned(predicted: Prediction, state: Noisy) -> Float[Tensor, "B 9"]:
    """Return the noise of the lattice in the orientation of the lattice, M L (eq. 10)."""
    mixing = predicted.lattice.view(-1, 3, 3)
    return product(mixing, state.lattice.view(-1, 3, 3)).flatten(1)
