"""``matkit models pack``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from matkit.cli.display import Display
from matkit.errors import ConfigError
from matkit.models.pack import pack
from matkit.models.shipped import MOST_BYTES
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.yaml_text import read_yaml


def run_pack(
    run: Path, out: Path, texts: Mapping[str, Any], last: bool, overwrite: bool, display: Display
) -> int:
    """Write a trained model as one file with its card; the exit code is 0.

    Raises:
        OutputExistsError: the file is there and may not be replaced.
        ConfigError, CheckpointError: see `matkit.models.pack.pack`.
    """
    with alone(out.parent, out.name):
        if not overwrite:
            refuse_existing([out])
        package = pack(run, out, texts, last)
    display.result(f"{out}: {package.size / 1e6:.2f} MB")
    if not package.fits_in_wheel:
        display.note(f"That is more than the {MOST_BYTES / 1e6:.0f} MB of weights in a package.")
    for key in package.missing:
        display.note(f"The card says no {key.replace('_', ' ')} (--{key.replace('_', '-')}).")
    display.document({"out": str(out), "bytes": package.size, "card": package.card})
    return 0


def card_of(path: Path | None, given: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the texts of a card: a flag wins over the file.

    Raises:
        ConfigError: the file cannot be read, or is no table.
    """
    flags = {key: text for key, text in given.items() if text is not None}
    if path is None:
        return flags
    try:
        content = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the card {path}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"Expected lines of the form `licence: MIT` in {path}.")
    return content | flags
