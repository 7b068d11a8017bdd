"""SevenNet checkpoints (Park et al. 2024), as shipped in the wheel of the package `sevenn`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from matkit.elements import atomic_number
from matkit.errors import CheckpointError
from matkit.models.safe_unpickle import read_torch_zip
from matkit.nn.equivariant import Gate
from matkit.nn.irreps import Irreps, parse_irreps, wigner_3j
from matkit.nn.kernels import Convolution, Coupling

Converted = tuple[str, dict[str, Any], dict[str, Tensor]]

# Settings this converter presupposes; anything else would load and be silently wrong.
_EXPECTED = {
    "is_parity": False,
    "self_connection_type": "linear",
    "use_bias_in_linear": False,
    "readout_as_fcn": False,
    "act_radial": "silu",
    "_normalize_sph": True,
    "interaction_type": "nequip",
}


def convert(path: Path) -> Converted:
    """Return model name, hyper-parameters and tensors of a SevenNet checkpoint.

    Raises:
        CheckpointError: the file is damaged, or its network has a feature matkit's NequIP does
            not reproduce.
    """
    checkpoint = read_torch_zip(path)
    try:
        if tuple(map(int, str(checkpoint["config"]["version"]).split(".")[:2])) >= (0, 11):
            raise CheckpointError(
                f"{path} was written by sevenn {checkpoint['config']['version']}; matkit reads the "
                "layout of versions before 0.11, which all weights in its wheel have."
            )
        config, state = checkpoint["config"], checkpoint["model_state_dict"]
        _check(config, path)
        return "nequip", _hyperparameters(config, state), _tensors(config, state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a SevenNet checkpoint: {error!r}.") from error


def _check(config: dict[str, Any], path: Path) -> None:
    wrong = {k: config[k] for k, v in _EXPECTED.items() if config.get(k, v) != v}
    if config.get("use_modality"):
        wrong["use_modality"] = True
    if wrong:
        raise CheckpointError(
            f"{path} is a SevenNet model with {wrong}; matkit reads models with {_EXPECTED} and "
            "a single modality."
        )


def _hyperparameters(config: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Any]:
    layers = range(len(config["irreps_manual"]) - 1)
    norms = {float(state[f"{t}_convolution.denominator"]) for t in layers}
    if len(norms) != 1:
        raise CheckpointError(f"Expected one neighbour norm for all layers, got {sorted(norms)}.")
    envelope = config["cutoff_function"]
    xplor = envelope["cutoff_function_name"] == "XPLOR"
    return {
        "species": [atomic_number(symbol) for symbol in config["chemical_species"]],
        "irreps": [str(irreps) for irreps in config["irreps_manual"]],
        "lmax": config["lmax"],
        "cutoff": float(config["cutoff"]),
        "natural_parity": False,
        "basis_size": config["radial_basis"]["bessel_basis_num"],
        "radial_hidden": list(config["weight_nn_hidden_neurons"]),
        "envelope": "xplor" if xplor else "polynomial",
        "envelope_power": int(envelope.get("poly_cut_p_value", 6)),
        "xplor_onset": float(envelope.get("cutoff_on", 4.5)),
        "neighbor_norm": norms.pop(),
        "self_connection": "linear",
        "readout_hidden": len(state["reduce_hidden_to_energy.linear.weight"]),
        "readout_activation": False,
    }


def _tensors(config: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    irreps = [parse_irreps(str(text)) for text in config["irreps_manual"]]
    first = state["reduce_input_to_hidden.linear.weight"]
    second = state["reduce_hidden_to_energy.linear.weight"]
    channels, hidden = irreps[-1][0].channels, len(second)
    n_species = len(config["chemical_species"])
    tensors = {
        "basis.frequencies": state["edge_embedding.basis_function.coeffs"],
        "embedding.weight": state["onehot_to_feature_x.linear.weight"].reshape(n_species, -1),
        "readout.weights.0": first.reshape(channels, hidden),
        "readout.weights.1": second.reshape(hidden, 1),
        "references.scale": state["rescale_atomic_energy.scale"].double(),
        "references.shift": state["rescale_atomic_energy.shift"].double(),
    }
    for t, (before, after) in enumerate(pairwise(irreps)):
        tensors |= _interaction(t, before, after, config["lmax"], state)
    return tensors


def _interaction(
    t: int, before: Irreps, after: Irreps, lmax: int, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    target = f"interactions.{t}"
    gated = Gate(after).irreps_in
    convolution = Convolution(before, lmax, after, natural_parity=False)
    linears = {
        "self_connection": ("self_connection_intro", before, gated),
        "linear_in": ("self_interaction_1", before, before),
        "linear_out": ("self_interaction_2", convolution.irreps_out, gated),
    }
    tensors: dict[str, Tensor] = {}
    for name, (source, irreps_in, irreps_out) in linears.items():
        blocks = _blocks(state[f"{t}_{source}.linear.weight"], irreps_in, irreps_out)
        tensors |= {f"{target}.{name}.weights.{i}": block for i, block in enumerate(blocks)}
    source = f"{t}_convolution.weight_nn.layer"
    depth = sum(key.startswith(source) for key in state)
    for i in range(depth):
        tensors[f"{target}.radial.weights.{i}"] = state[f"{source}{i}.weight"]
    last = f"{target}.radial.weights.{depth - 1}"
    tensors[last] = _sorted_columns(tensors[last], t, convolution, state)
    return tensors


def _sorted_columns(
    weight: Tensor, t: int, convolution: Convolution, state: dict[str, Tensor]
) -> Tensor:
    """Bring radial weights from the order and signs of old checkpoints to ours.

    Before version 0.11 `sevenn` stored paths by source, harmonic and target, not sorted by
    target; and its Wigner 3j symbols, kept in the file, had other signs for some degrees.
    """
    ours = list(convolution.paths)
    stored = sorted(ours, key=lambda path: (path.source, path.l2, path.target))
    columns = dict(zip(stored, torch.split(weight, [p.channels for p in stored], 1), strict=True))
    return torch.cat([columns[p] * _sign(p, t, convolution, state) for p in ours], dim=1)


def _sign(path: Coupling, t: int, convolution: Convolution, state: dict[str, Tensor]) -> float:
    l1, l3 = convolution.irreps_in[path.source].l, convolution.irreps_out[path.target].l
    key = f"{t}_convolution.convolution._compiled_main_left_right._w3j_{l1}_{path.l2}_{l3}"
    if key not in state:  # a coupling with a scalar, which needs no symbol
        return 1.0
    ours = wigner_3j(l1, path.l2, l3)
    overlap = float((state[key].double() * ours).sum())
    if abs(abs(overlap) - 1) > 1e-5:
        raise CheckpointError(f"The symbol {key} of the checkpoint is in another basis.")
    return 1.0 if overlap > 0 else -1.0


def _blocks(flat: Tensor, irreps_in: Irreps, irreps_out: Irreps) -> list[Tensor]:
    """Cut e3nn's flat weight of a linear layer into one matrix per shared irrep."""
    inputs = {irrep.kind: irrep.channels for irrep in irreps_in}
    shapes = [(inputs[o.kind], o.channels) for o in irreps_out if o.kind in inputs]
    parts = torch.split(flat, [rows * columns for rows, columns in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
