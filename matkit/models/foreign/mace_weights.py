"""From the weights of a MACE model to hyper-parameters and tensors of `matkit.potentials.mace`.

Nearly all hyper-parameters follow from the shapes. Linear layers of e3nn have one flat weight, the
blocks of which are in the order of the irreps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from matkit.errors import CheckpointError
from matkit.models.foreign.mace_couplings import in_our_paths
from matkit.nn.distances import AGNESI_A, AGNESI_P, AGNESI_Q, SOFT_ALPHA
from matkit.nn.mace_blocks import SCREENING, SCREENING_PREFACTOR

# Buffers that follow from hyper-parameters, and weights of no elements.
DERIVED = (
    *("output_mask", "U_matrix_", "_zeroed", "_w3j_", "covalent_radii", "prefactor", "r_max"),
    "num_interactions",
)
# Highest degree of harmonics; couplings of higher ones are many.
MOST_DEGREE = 4
TRANSFORM, REPULSION_NAME = "radial_embedding.distance_transform", "pair_repulsion_fn"


class Weights(Mapping[str, Tensor]):
    """Tensors by name, which remember what of them was read.

    Args:
        tensors: Parameters and buffers.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        self._unread = set(self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        self._unread.discard(name)
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def series(self, form: str) -> list[Tensor]:
        """Return the tensors called `form` with 0, 1, ... in the place of its braces."""
        found: list[Tensor] = []
        while form.format(len(found)) in self:
            found.append(self[form.format(len(found))])
        return found

    def unread(self) -> list[str]:
        """Return the names of those that mean something and were not read."""
        return sorted(
            name
            for name in self._unread
            if self._tensors[name].numel() and not any(part in name for part in DERIVED)
        )

    @property
    def has_density(self) -> bool:
        """Whether messages of all layers are divided by a density."""
        layers = range(self.layers)
        return all(f"interactions.{t}.density_fn.layer0.weight" in self for t in layers)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.series("interactions.{}.linear_up.weight"))


def hyperparameters(weights: Weights, mean_neighbors: float | None, head: int) -> dict[str, Any]:
    """Return the hyper-parameters of matkit's network.

    Args:
        weights: Weights of the model.
        mean_neighbors: What sums over neighbours are divided by.
        head: Number of the head that is taken.
    """
    species = weights["atomic_numbers"].tolist()
    layers = weights.layers
    channels = weights["node_embedding.linear.weight"].numel() // len(species)
    contraction = "products.{}.symmetric_contractions.contractions.{}.weights"
    degrees = sum(
        contraction.format(0, degree) + "_max" in weights for degree in range(MOST_DEGREE + 1)
    )
    settings: dict[str, Any] = {
        "species": species,
        "num_channels": channels,
        "lmax": degrees - 1,
        "num_layers": layers,
        "correlation": [
            len(weights.series(contraction.format(t, 0) + ".{}")) + 1 for t in range(layers)
        ],
        "harmonics_lmax": weights["interactions.0.linear.weight"].numel() // channels**2 - 1,
        "cutoff": float(weights["r_max"]),
        "basis_size": len(weights["radial_embedding.bessel_fn.bessel_weights"]),
        "envelope_power": int(weights["radial_embedding.cutoff_fn.p"]),
        "radial_hidden": [w.shape[1] for w in _radial(weights, 0)[:-1]],
        "readout_hidden": _readout_hidden(weights, layers, channels),
        "distance_transform": _transform(weights),
        "zbl": _repulsion(weights, head),
    }
    if settings["harmonics_lmax"] > MOST_DEGREE:
        raise CheckpointError(
            f"The model has harmonics up to degree {settings['harmonics_lmax']}; matkit reads up "
            f"to {MOST_DEGREE}."
        )
    kinds = [_interaction(weights, t, settings) for t in range(layers)]
    if len(set(kinds[1:])) > 1:
        raise CheckpointError(f"Expected layers of one kind after the first, got {kinds}.")
    if mean_neighbors is not None:
        settings["mean_neighbors"] = float(mean_neighbors)
    return settings | {"first_interaction": kinds[0], "interaction": kinds[-1]}


def tensors(
    weights: Weights, settings: Mapping[str, Any], heads: int, head: int
) -> dict[str, Tensor]:
    """Return the tensors of matkit's network.

    Args:
        weights: Weights of the model.
        settings: From `hyperparameters`.
        heads: Number of heads.
        head: Number of the one that is taken.
    """
    n_species, channels = len(settings["species"]), settings["num_channels"]
    found = {
        "embedding.weight": weights["node_embedding.linear.weight"].reshape(n_species, channels),
        "basis.frequencies": weights["radial_embedding.bessel_fn.bessel_weights"],
        **_references(weights, n_species, head),
    }
    for t in range(settings["num_layers"]):
        found |= _layer(weights, t, settings) | _readout(weights, t, heads, head)
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _radial(weights: Weights, t: int) -> list[Tensor]:
    return weights.series(f"interactions.{t}.conv_tp_weights.layer{{}}.weight")


def _readout_hidden(weights: Weights, layers: int, channels: int) -> int:
    name = f"readouts.{layers - 1}.linear_1.weight"
    heads = len(torch.atleast_2d(weights["atomic_energies_fn.atomic_energies"]))
    return weights[name].numel() // channels // heads if name in weights else 0


def _interaction(weights: Weights, t: int, settings: Mapping[str, Any]) -> str:
    """Return the kind of a layer: its matrices by species are of the input, or of the messages."""
    numel = weights[f"interactions.{t}.skip_tp.weight"].numel()
    squares = numel // (settings["num_channels"] ** 2 * len(settings["species"]))
    ends = t == settings["num_layers"] - 1
    residual = squares == (1 if t == 0 or ends else settings["lmax"] + 1)
    density = f"interactions.{t}.density_fn.layer0.weight" in weights
    words = [w for w, said in (("density", density), ("residual", residual)) if said]
    return "_".join(words) or "plain"


def _transform(weights: Weights) -> str | None:
    if f"{TRANSFORM}.alpha" in weights:
        _check_numbers(weights, {f"{TRANSFORM}.alpha": SOFT_ALPHA})
        return "soft"
    if f"{TRANSFORM}.q" in weights:
        numbers = {"a": AGNESI_A, "p": AGNESI_P, "q": AGNESI_Q}
        _check_numbers(weights, {f"{TRANSFORM}.{key}": value for key, value in numbers.items()})
        return "agnesi"
    return None


def _repulsion(weights: Weights, head: int) -> float | None:
    """Return the factor of the repulsion, which is scaled as the energies are."""
    if f"{REPULSION_NAME}.c" not in weights:
        return None
    numbers = {
        "c": SCREENING.weights,
        "p": float(weights["radial_embedding.cutoff_fn.p"]),
        "a_exp": SCREENING.power,
        "a_prefactor": SCREENING_PREFACTOR,
    }
    _check_numbers(weights, {f"{REPULSION_NAME}.{key}": value for key, value in numbers.items()})
    return float(_scale_shift(weights, "scale", head, 1.0))


def _check_numbers(weights: Weights, expected: Mapping[str, Any]) -> None:
    """Refuse constants that were trained or come from another version."""
    for name, value in expected.items():
        if not torch.allclose(
            weights[name].double(), torch.tensor(value, dtype=torch.float64), rtol=1e-6
        ):
            raise CheckpointError(
                f"The model has {name} = {weights[name].tolist()}; matkit reads models with "
                f"{value}."
            )


def _scale_shift(weights: Weights, name: str, head: int, default: float) -> float:
    key = f"scale_shift.{name}"
    return float(torch.atleast_1d(weights[key])[head]) if key in weights else default


def _references(weights: Weights, n_species: int, head: int) -> dict[str, Tensor]:
    energies = torch.atleast_2d(weights["atomic_energies_fn.atomic_energies"])[head].double()
    scale = _scale_shift(weights, "scale", head, 1.0)
    shift = _scale_shift(weights, "shift", head, 0.0)
    return {
        "references.scale": torch.full((n_species,), scale, dtype=torch.float64),
        "references.shift": energies + shift,
    }


def _layer(weights: Weights, t: int, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    channels, source, target = settings["num_channels"], f"interactions.{t}", f"interactions.{t}"
    n_species = len(settings["species"])
    species = weights[f"{source}.skip_tp.weight"].reshape(-1, channels, n_species, channels)
    lists = {
        "linear_in": _squares(weights[f"{source}.linear_up.weight"], channels),
        "radial": _radial(weights, t),
        "linear_out": _stacked(weights, t, settings),
        "self_connection": [block.transpose(0, 1) for block in species],
        "linear_product": _squares(weights[f"products.{t}.linear.weight"], channels),
    }
    found = {
        f"{target}.{name}.weights.{i}": block
        for name, blocks in lists.items()
        for i, block in enumerate(blocks)
    }
    if f"{source}.density_fn.layer0.weight" in weights:
        found[f"{target}.density.map.weights.0"] = weights[f"{source}.density_fn.layer0.weight"]
    return found | _contraction(weights, t, settings["harmonics_lmax"])


def _squares(flat: Tensor, channels: int) -> list[Tensor]:
    return list(flat.reshape(-1, channels, channels))


def _stacked(weights: Weights, t: int, settings: Mapping[str, Any]) -> list[Tensor]:
    """Return the matrix of every degree after the convolution: blocks of its paths, stacked."""
    channels = settings["num_channels"]
    sources = range(settings["lmax"] + 1 if t else 1)
    harmonics = range(settings["harmonics_lmax"] + 1)
    paths = [
        sum(
            (a + b + degree) % 2 == 0 and abs(a - b) <= degree <= a + b
            for a in sources
            for b in harmonics
        )
        for degree in harmonics
    ]
    blocks = weights[f"interactions.{t}.linear.weight"].split([n * channels**2 for n in paths])
    return [block.reshape(-1, channels) for block in blocks]


def _contraction(weights: Weights, t: int, lmax: int) -> dict[str, Tensor]:
    """Return the weights of the products, by degree and order, the highest order first."""
    found = {}
    sources = tuple((degree, (-1) ** degree) for degree in range(lmax + 1))
    for degree in range(lmax + 1):
        source = f"products.{t}.symmetric_contractions.contractions.{degree}"
        if f"{source}.weights_max" not in weights:
            break
        orders = [weights[f"{source}.weights_max"], *weights.series(f"{source}.weights.{{}}")]
        for k, weight in enumerate(orders):
            couplings = weights[f"{source}.U_matrix_{len(orders) - k}"]
            name = f"interactions.{t}.contraction.weights.{degree}.{k}"
            found[name] = in_our_paths(weight, couplings, sources)
    return found


def _readout(weights: Weights, t: int, heads: int, head: int) -> dict[str, Tensor]:
    """Return the read-out of a layer, of one head only."""
    source, target = f"readouts.{t}", f"readout.layers.{t}.weights"
    if f"{source}.linear.weight" in weights:
        matrix = weights[f"{source}.linear.weight"].reshape(-1, heads)
        return {f"{target}.0": matrix[:, head : head + 1]}
    last = weights[f"{source}.linear_2.weight"].reshape(heads, -1, heads)
    size = last.shape[1]
    first = weights[f"{source}.linear_1.weight"].reshape(-1, heads, size)
    # The second layer was normalised by the hidden sizes of all heads.
    return {
        f"{target}.0": first[:, head],
        f"{target}.1": last[head, :, head : head + 1] / sqrt(heads),
    }
