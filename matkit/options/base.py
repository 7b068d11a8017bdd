"""Options: validated values by name, refused with a reason when a name or value is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from matkit.errors import ConfigError, did_you_mean
from matkit.options.foreign_words import answer
from matkit.runs.yaml_text import dump_yaml, load_yaml

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Options(BaseModel):
    """Base class: frozen, unknown names are refused, and one value will do for a list.

    Paths are taken for their text. Flags give lists as text: ``[0.05, 0.1]`` for numbers, ``[]``
    for anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the values of what is not given, by name; JSON leaves them as they are."""
        fields = cls.model_fields.items()
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in fields
            if not field.is_required()
        }

    @field_validator("*", mode="before")
    @classmethod
    def _one_makes_a_list(cls, value: Any, info: Any) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        value = _without_paths(value)
        if get_origin(annotation) is not list:
            return value
        values = [value] if isinstance(value, str | int | float) else value
        match values:
            case ["[]"]:
                return []
            case [str(text)] if text.startswith("[") and get_args(annotation) != (str,):
                return _list_of(text)
        return values


def _without_paths(value: Any) -> Any:
    """Return a value with text in the place of paths, also in a list."""
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _list_of(text: str) -> Any:
    """Return what a list in brackets holds, the text itself if it is none."""
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return [text]


def resolve(
    model: type[OptionsT], options: OptionsT | None, changes: Mapping[str, Any]
) -> OptionsT:
    """Return `options` (or the defaults) with some values changed, all checked.

    Raises:
        ConfigError: a name is unknown or a value impossible.
    """
    given = {} if options is None else options.model_dump(exclude_unset=True)
    return build(model, {**given, **changes})


def build(model: type[OptionsT], values: Mapping[str, Any], where: str = "") -> OptionsT:
    """Validate `values`.

    Args:
        model: Options to build.
        values: Value by name.
        where: What the values were read from, for the message.

    Raises:
        ConfigError: a name is unknown or a value impossible.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(dict(item), model.model_fields) for item in error.errors()]
        source = f" ({where})" if where else ""
        raise ConfigError("\n".join(problem + source for problem in problems)) from None


def dump_config(config: Options) -> str:
    """Return the resolved configuration as YAML, fit to be used again."""
    values = config.model_dump(exclude={"overwrite"})
    return dump_yaml(values)


def _problem(item: dict[str, Any], names: Mapping[str, Any]) -> str:
    name = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        return f"Unknown option {name!r}.{answer(name) or did_you_mean(name, names)}"
    message = item["msg"].removeprefix("Value error, ")
    return f"Option {name!r}: {message}; got {item['input']!r}." if name else f"{message}."
