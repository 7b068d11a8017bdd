"""Configuration files: reading, writing and commented templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from matkit.cli.configs import RunConfig
from matkit.cli.flags import key_aliases
from matkit.errors import ConfigError
from matkit.options import ANY_CALCULATOR, RUNS_FILE, Options, build
from matkit.runs.yaml_text import dump_yaml, read_yaml

ConfigT = TypeVar("ConfigT", bound=Options)

# What tells the description of a published architecture from a list of options.
PUBLISHED = {"description", "model", "licence"}


def merge(model: type[ConfigT], path: str | None, given: Mapping[str, Any]) -> ConfigT:
    """Return the configuration: a flag wins over the file, and the file over the default.

    Args:
        model: Which configuration.
        path: YAML file, or None.
        given: Flags that were given.

    Raises:
        ConfigError: the file cannot be read, a name is unknown or a value impossible, or the file
            names a function as calculator.
    """
    values = read_config(model, Path(path)) if path is not None else {}
    if path is not None:
        build(model, values, where=f"in {path}")  # so that its errors name the file
        _refuse_functions(model, {k: v for k, v in values.items() if k not in given})
    config = build(model, {**values, **given})
    if isinstance(config, RunConfig) and not config.struct:
        raise ConfigError("Expected at least one file with structures, got none. Name it: FILES...")
    return config


def _refuse_functions(model: type[Options], values: Mapping[str, Any]) -> None:
    for name, field in model.model_fields.items():
        if field.json_schema_extra == ANY_CALCULATOR and isinstance(values.get(name), str):
            from matkit.label.calculator_engine import refuse_function

            refuse_function(values[name])
        if field.json_schema_extra == RUNS_FILE and str(values.get(name)).startswith("parsl:"):
            raise ConfigError(
                f"A configuration may not name Python code to run, got {values[name]}. Say it on "
                f"the command line: --executor {values[name]}"
            )


def read_config(model: type[Options], path: Path) -> dict[str, Any]:
    """Read option names, dashed or not, and their values.

    Of a published configuration these are the architecture and what it says of training.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a list of ``name: value``.
    """
    try:
        content = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"Expected lines of the form `name: value` in {path}, got {type(content).__name__}. "
            "`matkit template` prints an example."
        )
    if content.keys() >= PUBLISHED:
        content = {"model": content["model"], **content.get("training", {})}
    names = {alias: name for name in model.model_fields for alias in key_aliases(name)}
    keys = {key: str(key).replace("-", "_") for key in content}
    return {names.get(keys[key], keys[key]): value for key, value in content.items()}


def template(command: str, model: type[Options]) -> str:
    """Return a configuration with every option, its default and what it means."""
    lines = [f"# Options of `matkit {command} --config FILE`; the values are the defaults.", ""]
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        line = dump_yaml({name: default}).strip()
        lines += [f"# {field.description}", line, ""]
    return "\n".join(lines)
