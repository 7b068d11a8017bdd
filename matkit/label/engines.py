"""Engines by name, loaded once in every thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matkit.errors import ConfigError
from matkit.label.calculator_engine import factory_engine, is_factory, xtb_engine
from matkit.label.labels import Engine
from matkit.label.model_engine import ModelEngine
from matkit.label.options import XTB
from matkit.models.zoo import load_calculator
from matkit.options import DISPERSION_FUNCTIONAL

# Before the method of Kohn-Sham matrices.
MATRICES = "matrices:"


@dataclass(frozen=True)
class EngineSpec:
    """Which engine.

    Attributes:
        name: Model name or file, `gfn1`, `gfn2`, ``module:factory``, or `MATRICES` and a method.
        options: Arguments of xTB, of the factory or of what makes matrices, as JSON, so that it can
            be compared.
        device: Where a matkit model runs.
        dtype: Precision of a matkit model.
        batch_atoms: Most atoms that a matkit model computes together.
        ignore_charge: Whether a matkit model may leave charges out of account.
        dispersion: Correction added to a matkit model, `d3` or `d3bj`.
        dispersion_functional: Of which functional.
    """

    name: str
    options: str
    device: str
    dtype: str
    batch_atoms: int
    ignore_charge: bool = False
    dispersion: str | None = None
    dispersion_functional: str = DISPERSION_FUNCTIONAL


def load_engine(spec: EngineSpec) -> Engine:
    """Return an engine; a worker asks for it with every piece of work.

    Threads do not share one: calculators keep the structure that they are at work on.

    Raises:
        ConfigError: the calculator cannot be made as described.
        UnknownNameError: no model has that name.
        MissingExtraError: the package that it needs is not installed.
        CheckpointError: the model file cannot be read.
    """
    return _load(spec, threading.get_ident())


@lru_cache(maxsize=32)
def _load(spec: EngineSpec, _thread: int) -> Engine:
    options: Mapping[str, Any] = json.loads(spec.options)
    if spec.dispersion is not None and (spec.name in XTB or is_factory(spec.name)):
        raise ConfigError(
            f"Expected a matkit model to add {spec.dispersion} to, got {spec.name}: xTB has "
            "dispersion of its own, and a factory is to return a calculator that has it. Leave "
            "dispersion out."
        )
    if spec.name in XTB:
        return xtb_engine(spec.name, options)
    if spec.name.startswith(MATRICES):
        from matkit.label.matrix_engine import kohn_sham_engine  # with scipy's and PySCF's modules

        return kohn_sham_engine(spec.name.removeprefix(MATRICES), **options)
    if is_factory(spec.name):
        return factory_engine(spec.name, options)
    if options:
        raise ConfigError(
            f"{spec.name} is a matkit model and takes no calculator_options, got {dict(options)}. "
            "Leave them out."
        )
    calc = load_calculator(
        spec.name,
        spec.device,
        spec.dtype,
        ignore_charge=spec.ignore_charge,
        dispersion=spec.dispersion,
        dispersion_functional=spec.dispersion_functional,
    )
    return ModelEngine(calc, spec.batch_atoms)
