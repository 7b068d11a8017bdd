"""MACE models (Batatia et al. 2022) as the package `mace-torch` saves them.

A ``.model`` file is a pickled module: its weights, the names of its blocks and a few numbers are
read from it, nothing is run. A file of weights alone needs those numbers beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from matkit.errors import CheckpointError, ConfigError, MatkitError, did_you_mean
from matkit.models.foreign.mace_weights import Weights, hyperparameters, tensors
from matkit.models.foreign.modules import Module, flattened
from matkit.models.safe_unpickle import Opaque, read_torch_zip

MODELS = {"MACE", "ScaleShiftMACE"}
BLOCKS = {
    *("LinearNodeEmbeddingBlock", "RadialEmbeddingBlock", "BesselBasis", "PolynomialCutoff"),
    *("AgnesiTransform", "SoftTransform", "ZBLBasis", "AtomicEnergiesBlock", "ScaleShiftBlock"),
    *("RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"),
    *("RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"),
    *("EquivariantProductBasisBlock", "SymmetricContraction", "Contraction", "reshape_irreps"),
    *("LinearReadoutBlock", "NonLinearReadoutBlock"),
}
# Of e3nn and torch, which the blocks are made of; graphs hold no weights of their own.
PARTS = {
    *("Linear", "TensorProduct", "FullyConnectedTensorProduct", "SphericalHarmonics"),
    *("FullyConnectedNet", "_Layer", "Activation", "normalize2mom"),
    *("ModuleList", "ParameterList", "reduce_graph_module", "GraphModule"),
}
# Switches that models read here leave alone.
SWITCHES = {
    "apply_cutoff": True,
    "use_so3": False,
    "use_agnostic_product": False,
    "use_last_readout_only": False,
    "lammps_mliap": False,
}
# Of a file beside weights alone, and its size at most.
ENDINGS = (".yaml", ".yml", ".json")
MOST_BYTES = 100_000


class Settings(BaseModel):
    """What weights alone do not say, by MACE's names."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    avg_num_neighbors: float | None = Field(None, gt=0)
    heads: list[str] = []


class Converted(NamedTuple):
    """A model in matkit's terms.

    Attributes:
        model: Name of the architecture.
        hyperparameters: Of it.
        tensors: Parameters and buffers by name.
        heads: Names of all heads of the file; one of them was taken.
    """

    model: str
    hyperparameters: dict[str, Any]
    tensors: dict[str, Tensor]
    heads: list[str]


class MACEFile(NamedTuple):
    """What a file holds.

    Attributes:
        weights: Parameters and buffers by name.
        heads: Names of the heads.
        mean_neighbors: What sums over neighbours are divided by; None where nothing is.
    """

    weights: Weights
    heads: list[str]
    mean_neighbors: float | None


def convert(path: Path, head: str | None = None) -> Converted:
    """Return what matkit's network of a MACE model is made from.

    Args:
        path: File.
        head: Name of the head to take; may be left out if there is one.

    Raises:
        CheckpointError: the file is damaged, no MACE model, or has parts that are not read.
        ConfigError: there is no such head, or none is named among several.
    """
    source = read(path)
    number = _head(source.heads, head, path)
    with _understood(path):
        settings = hyperparameters(source.weights, source.mean_neighbors, number)
        converted = tensors(source.weights, settings, len(source.heads), number)
    if unread := source.weights.unread():
        raise CheckpointError(
            f"{path} has weights that are not read: {', '.join(unread[:5])}"
            f"{' and others' if len(unread) > 5 else ''}. Models with LoRA, with embeddings of "
            "charge, spin or other conditions and with several kinds of output are not supported; "
            "merge LoRA into the weights first."
        )
    return Converted("mace", settings, converted, source.heads)


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Say so if a file is not what is expected of MACE's."""
    try:
        yield
    except MatkitError:
        raise
    # Among them those of torch, of shapes.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as e:
        raise CheckpointError(f"{path} is not a MACE model that matkit understands: {e!r}.") from e


def read(path: Path) -> MACEFile:
    """Return what a file of `mace-torch` holds.

    Raises:
        CheckpointError: the file is damaged, no MACE model, or has blocks that are not read.
    """
    content = read_torch_zip(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict | Opaque):
        content = content["model"]
    with _understood(path):
        if isinstance(content, Opaque):
            return _from_module(flattened(content, path), path)
        if isinstance(content, dict) and "node_embedding.linear.weight" in content:
            return _from_weights(content, path)
    raise CheckpointError(
        f"{path} is a PyTorch file, but no MACE model: expected a module of mace-torch or its "
        "weights. Files that matkit reads: its own *.safetensors, and MACE's *.model."
    )


def settings_files(path: Path) -> list[Path]:
    """Return the files beside weights that say what these do not.

    Larger ones of the same name are another program's, such as the networks of symmetrix.
    """
    files = (path.with_suffix(ending) for ending in ENDINGS)
    return [file for file in files if file.is_file() and file.stat().st_size <= MOST_BYTES]


def _from_module(module: Module, path: Path) -> MACEFile:
    kind = module.classes[""]
    if kind not in MODELS:
        raise CheckpointError(
            f"{path} holds a {kind or 'nameless object'}; of MACE's models matkit reads "
            f"{', '.join(sorted(MODELS))}, which give energies."
        )
    known = MODELS | BLOCKS | PARTS
    if unknown := [f"{place} ({k})" for place, k in module.classes.items() if k not in known]:
        raise CheckpointError(
            f"{path} has blocks that matkit does not know: {', '.join(unknown[:5])}. It reads "
            "models of e3nn's layers without LoRA and without embeddings of charge or spin; "
            "convert cuEquivariance models with mace_cueq_to_e3nn first."
        )
    root = module.attributes[""]
    wrong = {key: root[key] for key, value in SWITCHES.items() if root.get(key, value) != value}
    if wrong:
        raise CheckpointError(f"{path} is a MACE model with {wrong}; matkit reads {SWITCHES}.")
    _check_activation(module, path)
    _check_parity(module, path)
    weights = Weights(module.tensors)
    norms = {
        float(settings["avg_num_neighbors"])
        for place, settings in module.attributes.items()
        if "avg_num_neighbors" in settings
        and f"{place}.density_fn.layer0.weight" not in module.tensors
    }
    if len(norms) > 1:
        raise CheckpointError(
            f"Expected one mean number of neighbours for all layers of {path}, got {sorted(norms)}."
        )
    heads = [str(name) for name in root.get("heads") or ["Default"]]
    return MACEFile(weights, heads, norms.pop() if norms else None)


def _check_activation(module: Module, path: Path) -> None:
    """Refuse read-outs with another activation than silu."""
    for place, settings in module.attributes.items():
        function = getattr(settings.get("f"), "source", "")
        if module.classes[place] == "normalize2mom" and not function.endswith(".silu"):
            raise CheckpointError(
                f"{path} has the activation {function or 'of another kind'} at {place}; matkit "
                "reads silu."
            )


def _check_parity(module: Module, path: Path) -> None:
    """Refuse features of other parity than that of the harmonics of their degree."""
    for place, settings in module.attributes.items():
        for key in ("target_irreps", "hidden_irreps"):
            if any(p != (-1) ** degree for degree, p in _kinds(settings.get(key))):
                raise CheckpointError(
                    f"{path} has features of unnatural parity in {place}; matkit reads models "
                    "with features such as 128x0e+128x1o+128x2e."
                )


def _kinds(irreps: Any) -> list[tuple[int, int]]:
    """Return degrees and parities of irreps, which are text or stand-ins of e3nn's objects."""
    if isinstance(irreps, str):
        terms = [term.strip().rpartition("x")[2] for term in irreps.split("+")]
        return [(int(term[:-1]), 1 if term[-1] == "e" else -1) for term in terms]
    if not isinstance(irreps, Opaque):
        return []
    # Tuples of e3nn's: irreps of pairs of a number and an irrep, which is degree and parity.
    pairs = [_entries(pair) for pair in _entries(irreps) if isinstance(pair, Opaque)]
    return [_entries(irrep) for _, irrep in pairs]


def _entries(stand_in: Any) -> tuple[Any, ...]:
    """Return the entries of a tuple of a class of its own."""
    entries: tuple[Any, ...] = stand_in.arguments[0]
    return entries


def _from_weights(state: dict[str, Any], path: Path) -> MACEFile:
    """Return the same for weights alone, whose numbers are in a file beside."""
    weights = Weights({key: value for key, value in state.items() if isinstance(value, Tensor)})
    settings = _settings(path)
    energies = weights["atomic_energies_fn.atomic_energies"]
    count = len(energies) if energies.ndim == 2 else 1
    heads = settings.heads or [f"head_{i}" for i in range(count)]
    if len(heads) != count:
        raise CheckpointError(f"{path} has {count} heads, and the file beside names {heads}.")
    if settings.avg_num_neighbors is None and not weights.has_density:
        raise CheckpointError(
            f"{path} holds weights alone, and the mean number of neighbours is not among them. "
            f"Convert the *.model file, or write {path.with_suffix(ENDINGS[0])} with a line such "
            "as `avg_num_neighbors: 61.96` (MACE's log states it), and `heads: [...]` if there are "
            "several."
        )
    return MACEFile(weights, heads, settings.avg_num_neighbors)


def _settings(path: Path) -> Settings:
    """Read what is beside weights.

    Raises:
        CheckpointError: it cannot be read, or says something else.
    """
    for file in settings_files(path):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            return Settings.model_validate(content)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            raise CheckpointError(
                f"Expected a table of {' and '.join(Settings.model_fields)} in {file}: {error}"
            ) from error
    return Settings()


def _head(names: list[str], wanted: str | None, path: Path) -> int:
    if wanted is None and len(names) == 1:
        return 0
    if wanted is None:
        raise ConfigError(
            f"{path} has the heads {', '.join(names)}: say which. On the command line, convert it "
            "once: matkit models convert FILE out.safetensors --head NAME; in Python, name it as "
            "`head`."
        )
    if wanted not in names:
        raise ConfigError(f"{path} has no head {wanted!r}.{did_you_mean(wanted, names)}")
    return names.index(wanted)
