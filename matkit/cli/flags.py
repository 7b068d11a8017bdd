"""Command-line flags made from the configuration models, so that defaults are written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from matkit.options import Options, Panel, panel_of
from matkit.options.foreign_words import answer

# Further spellings: short flags, and the names MACE and janus-core use.
ALIASES: dict[str, tuple[str, ...]] = {
    "struct": ("-i",),
    "model": ("-m",),
    "out": ("-o",),
    "suffix": ("-s",),
    "dtype": ("--default-dtype",),
    "temperature": ("--temp",),
    "temperature_end": ("--temp-end",),
    "default_dtype": ("--dtype",),
    "valid": ("--valid-file",),
    "test": ("--test-file",),
    "replay_file": ("--pt-train-file",),
    "max_num_epochs": ("--epochs",),
}
COMMON = {
    "config": (str, "YAML file with any of these options; flags win over it", "-c"),
    "json": (bool, "print one JSON document and nothing else", None),
    "quiet": (bool, "print errors only", None),
    "debug": (bool, "show where an error comes from", None),
}


def key_aliases(name: str) -> list[str]:
    """Return the other names of an option in a configuration file."""
    flags = (flag for flag in ALIASES.get(name, ()) if flag.startswith("--"))
    return [flag.removeprefix("--").replace("-", "_") for flag in flags]


def with_flags(
    model: type[Options], body: Callable[..., None], words: str = "[FILES]..."
) -> Callable[..., None]:
    """Return `body` with a signature from which typer makes the flags of `model`.

    Flags that are not given arrive as None, so that a configuration file can fill them.

    Args:
        model: Options of the command.
        body: What the command does.
        words: What words without a flag are, for the help; none are allowed if empty.
    """

    def command(**given: Any) -> None:
        body(**given)

    panels = {name: panel_of(model, name) for name in model.model_fields}
    names = sorted(panels, key=lambda name: [*Panel].index(panels[name]))
    options = (_option(name, model.model_fields[name], panels[name]) for name in names)
    parameters = [*([_files(words)] if words else []), *options, *_common()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = body.__doc__
    return command


@contextmanager
def answered() -> Iterator[None]:
    """Answer flags of other programs with those of matkit, where they are refused as unknown."""
    try:
        yield
    except Exception as error:  # where typer has the class of it depends on its version
        flag = getattr(error, "option_name", None)
        if isinstance(flag, str) and hasattr(error, "possibilities") and answer(flag):
            vars(error).update(message=f"{error}.{answer(flag)}", possibilities=None)
        raise


def normalise(arguments: Sequence[str], switches: frozenset[str]) -> list[str]:
    """Accept underscores in flags, and ``--flag=True`` or ``=False`` for switches.

    Args:
        arguments: Words of the command line.
        switches: Flags that take no value, e.g. ``--relax-cell``.
    """
    words, rest = list(arguments), []
    if "--" in words:
        end = words.index("--")
        words, rest = words[:end], words[end:]
    return [_normal(word, switches) for word in words] + rest


def switches(models: Mapping[str, type[Options]]) -> frozenset[str]:
    """Return the flags without value of all commands."""
    fields = {n: f for model in models.values() for n, f in model.model_fields.items()}
    return frozenset(_flag(name) for name, field in fields.items() if field.annotation is bool)


def _normal(word: str, switches: frozenset[str]) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    flag = flag.replace("_", "-")
    if equals and flag in switches and value.lower() in ("true", "false"):
        return flag if value.lower() == "true" else f"--no-{flag[2:]}"
    return flag + equals + value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _files(words: str) -> inspect.Parameter:
    return _parameter("files", list[str], typer.Argument(metavar=words, show_default=False))


def _option(name: str, field: FieldInfo, panel: Panel) -> inspect.Parameter:
    shown: dict[str, Any] = {"help": _help(field), "rich_help_panel": panel}
    if field.annotation is bool:
        flags = [f"{_flag(name)}/--no-{_flag(name)[2:]}"]
        return _parameter(name, bool, typer.Option(*flags, **shown))
    kind = list[str] if get_origin(field.annotation) is list else str
    flags = [_flag(name), *ALIASES.get(name, ())]
    return _parameter(name, kind, typer.Option(*flags, metavar=_metavar(field), **shown))


def _common() -> list[inspect.Parameter]:
    made = []
    for name, (kind, text, short) in COMMON.items():
        flags = [_flag(name), *([short] if short else [])]
        made.append(
            _parameter(name, kind, typer.Option(*flags, help=text, rich_help_panel=Panel.GENERAL))
        )
    return made


def _parameter(name: str, kind: Any, info: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, info]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _help(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, "", []) else f" [default: {default!s}]"
    return f"{field.description}{shown}".replace("[", "\\[")


def _metavar(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    names = {int: "INTEGER", float: "NUMBER"}
    kinds = _kinds(field.annotation)
    words = [text for kind, text in names.items() if kind in kinds][:1]
    return "|".join([*words, *choices]) or "TEXT"


def _kinds(annotation: Any) -> set[Any]:
    """Return all types in an annotation."""
    return {annotation}.union(*(_kinds(part) for part in get_args(annotation)))


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]
