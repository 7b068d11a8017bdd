"""CDVAE: a variational autoencoder of crystals whose decoder is annealed Langevin dynamics.

Xie, Fu, Ganea, Barzilay & Jaakkola, ICLR 2022. An encoder makes one vector of a crystal; networks
of this vector say the number of atoms, the lattice, the composition and properties. The decoder
starts from these, with atoms anywhere, and moves them along a score that it was taught for noise of
many sizes, while it corrects the species. So crystals can be reconstructed, drawn, and made anew
with better properties: by gradient descent of what the vector says of them.

Deviations: encoder and decoder are CSPNets (parts/cspnet.py), not DimeNet++ and GemNet; noise is
that of fractional coordinates, wrapped (parts/wrapped_normal.py), as in DiffCSP; each Langevin step
is followed by one towards the next level (predictor), so that some tens of levels are enough for
thousands; the decoder hears the lattice that the vector says, from the first step of training on,
and says the lattice too, which is taken at the end; the error of the species is not divided by
their noise; counts of species are those nearest to what the vector says, or the likeliest where it
says counts (`composition`), and stay: species change places only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from matkit.errors import ConfigError, did_you_mean
from matkit.generative.parts import wrapped_normal
from matkit.generative.parts.denoiser import Denoiser, Noisy, Prediction, Size
from matkit.generative.parts.embedding import embed_time
from matkit.generative.parts.latent import (
    LatentEncoder,
    LatentHeads,
    LatentSize,
    divergence,
    optimized,
)
from matkit.generative.parts.lattice import LatticeUnits, lattice_scale
from matkit.generative.parts.layout import atom_mask, crystals
from matkit.generative.parts.losses import atom_error, system_error
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.generative.parts.schedules import geometric_sigma, time_grid
from matkit.generative.parts.torus import mean_free, wrap
from matkit.interfaces import Condition, Generator
from matkit.nn.arguments import check_not_negative, check_positive
from matkit.structures import Structures

# Smallest standard deviation of a number of the lattice, in its logarithm.
SPREAD = 0.02
# Bounds of the noise of species in training: weight of the composition beside the true species.
SPECIES_NOISE = (0.01, 5.0)
COMPOSITIONS = ("shares", "counts")


class CDVAE(Generator):
    """Autoencoder of crystals.

    Args:
        species: Atomic numbers to know.
        max_atoms: Atoms in the largest crystal of the training set.
        latent: Numbers of a crystal.
        width: Features of an atom.
        layers: Rounds of messages, in the encoder and in the decoder.
        harmonics: Plane waves along each axis.
        decoder: Width, layers and harmonics of the decoder, where they are others.
        time_channels: Features of the noise level and of the vector, as the decoder hears them.
        composition: How the vector says it: as "shares" of the species, which are rounded, or as
            "counts", which are classes; the encoder is given the counts and the lattice then.
        levels: Noise levels of the coordinates.
        sigma: Smallest and largest standard deviation of the coordinates.
        step_size: Of a Langevin step at the smallest noise.
        divergence_weight: Weight of the Kullback-Leibler divergence in the loss.
        lattice_weight: Weight of the lattice, in standard deviations.
        coordinate_weight: Weight of the coordinates.
        descent: Number of steps and learning rate of the search for properties.
        properties: Mean and standard deviation of each property to predict.
        lattice: Mean and standard deviation of the logarithms of the lattices.
    """

    calls_per_step = 2
    optimizes = True
    # As published: what the vector says becomes overconfident while it is still right more often.
    decisive = frozenset({"coordinates", "species"})
    required = frozenset()
    inputs = frozenset({"n_atoms", "properties"})
    sigmas: Tensor
    norms: Tensor

    def __init__(
        self,
        species: Sequence[int],
        max_atoms: int = 20,
        latent: int = 256,
        width: int = 256,
        layers: int = 4,
        harmonics: int = 32,
        decoder: Mapping[str, int] | None = None,
        time_channels: int = 256,
        composition: str = "shares",
        levels: int = 1000,
        sigma: Sequence[float] = (0.005, 0.5),
        step_size: float = 1e-6,
        divergence_weight: float = 0.01,
        lattice_weight: float = 10.0,
        coordinate_weight: float = 10.0,
        descent: Sequence[float] = (200, 0.02),
        properties: Mapping[str, Sequence[float]] | None = None,
        lattice: Sequence[Sequence[float]] = ((0.0,) * 6, (1.0,) * 6),
    ) -> None:
        super().__init__()
        if composition not in COMPOSITIONS:
            known = ", ".join(COMPOSITIONS)
            raise ConfigError(f"Expected `composition` to be one of {known}, got {composition!r}.")
        check_positive(max_atoms=max_atoms, latent=latent, levels=levels, step_size=step_size)
        check_not_negative(
            divergence_weight=divergence_weight,
            lattice_weight=lattice_weight,
            coordinate_weight=coordinate_weight,
        )
        self.species, self.max_atoms, self.latent = tuple(species), max_atoms, latent
        self.properties = tuple(sorted(properties or {}))
        self.levels, self.steps, self.step_size = levels, min(levels, 50), step_size
        self.weights = (divergence_weight, lattice_weight, coordinate_weight)
        self.descent = int(descent[0]), float(descent[1])
        size = LatentSize(latent, width, layers, harmonics)
        counts = composition == "counts"
        self.encoder = LatentEncoder(size, len(self.species), counts)
        self.heads = LatentHeads(size, max_atoms, len(self.species), properties or {}, counts)
        sizes = {"width": width, "layers": layers, "harmonics": harmonics}
        for key in (decoder or {}).keys() - sizes.keys():
            raise ConfigError(f"Unknown size {key!r} of the decoder.{did_you_mean(key, sizes)}")
        sizes |= decoder or {}
        of_decoder = Size(**sizes, time_channels=time_channels)
        self.decoder = Denoiser(of_decoder, self.species, (6, 6), True, {})
        self.embed_latent = nn.Linear(latent, time_channels)
        center, spread = lattice
        self.units = LatticeUnits(center, spread, scaled=True)
        sigmas = geometric_sigma(sigma[0], sigma[1], levels)
        self.register_buffer("sigmas", sigmas, persistent=False)
        self.register_buffer("norms", wrapped_normal.level_norms(sigmas), persistent=False)

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return mean and standard deviation of the logarithms of the lattices."""
        return {"lattice": lattice_scale(structures.cell, structures.n_atoms, SPREAD)}

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the errors of what the vector says, of the decoder, and the divergence."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        data = self.clean(structures)
        mean, logarithm = self.encoder(data)
        draw = noise.normal(self.latent).to(mean)
        latent = mean + (0.5 * logarithm).exp() * draw
        said, composition = self.heads.lattice(latent), self.heads.composition(latent)
        shares = self.heads.composition.shares(composition.detach())
        noisy, score, time = self._noisy(data, shares, said, noise)
        predicted = self._decoded(noisy, time, latent)
        weight, of_lattice, of_coordinates = self.weights
        coordinates = mean_free(predicted.coordinates, data.mask)
        both = system_error(said, data.lattice) + system_error(predicted.lattice, data.lattice)
        terms = {
            "sizes": cross_entropy(
                self.heads.sizes(latent), data.mask.sum(dim=1) - 1, reduction="none"
            ),
            "lattice": of_lattice * both,
            "coordinates": of_coordinates * atom_error(coordinates, score, data.mask),
            "species": _species_error(predicted, data),
            "composition": self.heads.composition.error(composition, data.species.sum(dim=1)),
            "divergence": weight * divergence(mean, logarithm),
        }
        for name, value in self.heads.properties(latent).items():
            target = self.heads.standard(name, structures.system[name].to(value))
            target = torch.where(target.isfinite(), target, value.detach())  # if it is not known
            terms[f"property_{name}"] = (value - target).square()
        return terms

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw vectors, move them to where their properties are as asked for, and decode them.

        Raises:
            ConfigError: there are fewer noise levels than `steps`, or as `check_condition`.
        """
        self.check_condition(condition)
        noise = Noise(seeds.to(self.sigmas.device))
        latent = noise.normal(self.latent).to(self.dtype)
        if condition.properties:
            latent = optimized(latent, self.heads, condition.properties, *self.descent)
        return self.decode(latent, steps, noise, condition.n_atoms)

    def encode(self, structures: Structures) -> Float[Tensor, "B Z"]:
        """Return the vectors of crystals [B, Z]; cells as in training, Niggli-reduced by default.

        Raises:
            UnknownElementError, StructureError: as `check_structures`; no property is needed.
        """
        unknown = torch.full((len(structures),), torch.nan)
        self.check_structures(structures.replace(system=dict.fromkeys(self.properties, unknown)))
        with torch.no_grad():
            return self.encoder(self.clean(structures))[0]

    def decode(
        self,
        latent: Float[Tensor, "B Z"],
        steps: int,
        noise: Noise,
        n_atoms: Int[Tensor, " B"] | None = None,
    ) -> Structures:
        """Return crystals of vectors, with properties as predicted: two network calls a step.

        Args:
            latent: The vectors [B, Z].
            steps: Steps from noise to crystals.
            noise: One stream of random numbers per crystal.
            n_atoms: Atoms of each [B]; what the vectors say if not given.

        Raises:
            ConfigError: there are fewer noise levels than `steps`.
        """
        times = time_grid(self.levels, steps).tolist()
        with torch.no_grad():
            if n_atoms is None:
                n_atoms = self.heads.n_atoms(latent)
            state = self._start(latent, n_atoms.to(latent.device), noise)
            for late, early in pairwise(times):
                state = self._correct(state, (late, early), latent, noise)
                state, predicted = self._predict(state, (late, early), latent, noise)
        state = replace(state, lattice=predicted.lattice, fractional=state.fractional.double())
        cells = self.units.cells(state.lattice, n_atoms.to(latent.device))
        species = self.decoder.most_likely(state.species)
        made = crystals(state.fractional, cells, species, state.mask)
        said = self.heads.values(latent)
        return made.replace(system={f"predicted_{name}": value for name, value in said.items()})

    def clean(self, structures: Structures) -> Noisy:
        """Return crystals as the networks see them."""
        return self.decoder.clean(
            structures, self.units.numbers(structures.cell, structures.n_atoms)
        )

    def _noisy(
        self, data: Noisy, shares: Tensor, lattice: Tensor, noise: Noise
    ) -> tuple[Noisy, Float[Tensor, "B n 3"], Float[Tensor, " B"]]:
        """Return crystals with noise, the score of their coordinates, and their noise levels."""
        n, level = data.mask.shape[1], 1 + (noise.uniform() * self.levels).long()
        sigma = self.sigmas[level].to(self.dtype).view(-1, 1, 1)
        shift = sigma * noise.normal(n, 3).to(self.dtype)
        score = wrapped_normal.score(shift, sigma) / self.norms[level].to(self.dtype).view(-1, 1, 1)
        least, most = SPECIES_NOISE
        spread = (least * (most / least) ** noise.uniform()).to(self.dtype).view(-1, 1, 1)
        share = data.species + spread * shares.unsqueeze(1)
        gumbel = -torch.log(-torch.log(noise.uniform(n, share.shape[2])))
        drawn = one_hot((share.double().log() + gumbel).argmax(dim=2), share.shape[2])
        noisy = Noisy(
            drawn.to(data.species) * data.mask.unsqueeze(2),
            wrap(data.fractional + shift),
            lattice.detach(),
            data.mask,
        )
        return noisy, mean_free(score, data.mask), level.to(self.dtype) / self.levels

    def _start(self, latent: Tensor, n_atoms: Int[Tensor, " B"], noise: Noise) -> Noisy:
        """Return crystals as their vectors say, with atoms anywhere."""
        mask = atom_mask(n_atoms)
        composition = self.heads.composition
        counts = composition.whole(composition(latent), n_atoms)
        kinds = torch.arange(counts.shape[1], device=counts.device).expand_as(counts)
        drawn = kinds.flatten().repeat_interleave(counts.flatten())
        numbers = torch.tensor(self.species, device=drawn.device)[drawn]
        fractional = noise.uniform(mask.shape[1], 3).to(self.dtype)
        lattice = self.heads.lattice(latent)
        return Noisy(self.decoder.one_hot(numbers, mask), fractional, lattice, mask)

    def _decoded(self, state: Noisy, time: Tensor, latent: Tensor) -> Prediction:
        """Return what the decoder says of crystals at their noise levels."""
        clock = embed_time(time, self.decoder.time_channels).to(latent)
        return self.decoder.told(state, clock + self.embed_latent(latent))

    def _asked(self, state: Noisy, level: int, latent: Tensor) -> Prediction:
        """Return what the decoder says of crystals at one noise level, with their scores."""
        time = torch.full_like(latent[:, 0], level / self.levels)
        said = self._decoded(state, time, latent)
        score = mean_free(said.coordinates, state.mask) * self.norms[level].to(self.dtype)
        return said._replace(coordinates=score)

    def _correct(
        self, state: Noisy, levels: tuple[int, int], latent: Tensor, noise: Noise
    ) -> Noisy:
        """Return the crystals after one Langevin step; no noise in the last."""
        late, early = levels
        said = self._asked(state, late, latent)
        size = self.step_size * (self.sigmas[late] / self.sigmas[1]).square().to(self.dtype)
        draw = noise.normal(state.mask.shape[1], 3).to(self.dtype) * (early > 0)
        moved = wrapped_normal.langevin_step(state.fractional, said.coordinates, size, draw)
        return self._moved(state, moved, said)

    def _predict(
        self, state: Noisy, levels: tuple[int, int], latent: Tensor, noise: Noise
    ) -> tuple[Noisy, Prediction]:
        """Return the crystals at the lower of two noise levels, and what was said of them."""
        late, early = levels
        said = self._asked(state, late, latent)
        sigmas = self.sigmas[late].to(self.dtype), self.sigmas[early].to(self.dtype)
        draw = noise.normal(state.mask.shape[1], 3).to(self.dtype)
        moved = wrapped_normal.reverse_step(state.fractional, said.coordinates, sigmas, draw)
        return self._moved(state, moved, said), said

    def _moved(self, state: Noisy, fractional: Tensor, said: Prediction) -> Noisy:
        """Return crystals with new coordinates and the species that are most likely where they are.

        How many atoms of each there are has been said by the vector, and stays.
        """
        assert said.species is not None
        species = assigned(said.species, state.species, state.mask)
        return replace(state, fractional=wrap(fractional), species=species)


def assigned(
    said: Float[Tensor, "B n S"], species: Float[Tensor, "B n S"], mask: Bool[Tensor, "B n"]
) -> Float[Tensor, "B n S"]:
    """Return the species of each crystal at the places where they are likeliest together.

    Args:
        said: Logits of the species at every place.
        species: One-hot species before; as many of each come back.
        mask: Which atoms are there.
    """
    gains = (said.log_softmax(dim=2).double() @ species.double().mT).cpu().numpy()
    before, made = species.argmax(dim=2), torch.zeros_like(species)
    for i, count in enumerate(mask.sum(dim=1).tolist()):
        _, taken = linear_sum_assignment(gains[i, :count, :count], maximize=True)
        chosen = before[i, torch.as_tensor(taken, device=before.device)]
        made[i, :count] = one_hot(chosen, species.shape[2]).to(made)
    return made


def _species_error(predicted: Prediction, data: Noisy) -> Float[Tensor, " B"]:
    """Return the cross entropy of the species, per atom."""
    assert predicted.species is not None
    entropy = -(data.species * predicted.species.log_softmax(dim=2)).sum(dim=(1, 2))
    return entropy / data.mask.sum(dim=1)
