"""``matkit models grow``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from matkit.cli.display import Display
from matkit.elements import atomic_number
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.models.cards import inherited
from matkit.models.grow import grow
from matkit.models.sources import read_potential
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.yaml_text import load_yaml


def run_grow(
    model: str, out: Path, elements: str, settings: str, overwrite: bool, display: Display
) -> int:
    """Give a model further elements or parts and write it; the exit code is 0.

    Raises:
        OutputExistsError: the file is there and may not be replaced.
        ConfigError: nothing is added, or predictions change.
    """
    numbers = [atomic_number(word.strip()) for word in elements.split(",") if word.strip()]
    changes = _table(settings)
    with alone(out.parent, out.name):
        if not overwrite:
            refuse_existing([out])
        network, metadata = read_potential(model, any_level=True)
        growth = grow(network, [*dict.fromkeys(numbers)], changes)
        card = inherited(model, "grown", "") | metadata["card"] | {"changed": growth.text()}
        checkpoint.save(growth.network, out, card)
    display.result(f"{growth.text()}\nWritten to {out}")
    parameters = {"parameters": growth.parameters, "change": growth.change}
    display.document({"model": model, "out": str(out)} | parameters)
    return 0


def _table(text: str) -> dict[str, Any]:
    try:
        content = load_yaml(text) if text.strip() else {}
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"Expected a table such as '{{layers: 2}}', got {text!r}.")
    return content
