"""YAML as people mean it: scalars of YAML 1.2, no key twice, and bounds on what a file may cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

# Far above any configuration.
LARGEST, DEEPEST, MOST_ALIASES = 1_000_000, 20, 100


class _Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, in which 010 is eight, 1:30 is ninety, and No (nobelium) is false."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._check_alias()
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep")
        before = self._aliases
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and self._aliases > before and node in self.anchors.values():
            raise yaml.YAMLError("an anchor holds aliases of others, which would multiply")
        return node

    def _check_alias(self) -> None:
        self._aliases += 1
        if self._aliases > MOST_ALIASES:
            raise yaml.YAMLError(f"it has more than {MOST_ALIASES} aliases")

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode):
            keys = [
                self.construct_object(key, deep=True)
                for key, _ in node.value
                if not key.tag.endswith(":merge")
            ]
            twice = {str(key) for key in keys if isinstance(key, str | int) and keys.count(key) > 1}
            if twice:
                raise yaml.YAMLError(f"{', '.join(sorted(twice))} stands in it twice")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what readers of either YAML would not take for text."""


_Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("merge", "<<", "<"),
):
    whole = re.compile(rf"(?:{pattern})\Z")
    for cls in (_Loader, _Dumper):
        cls.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", whole, list(first))


def _integer(loader: _Loader, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 16) if text.lower().startswith("0x") else int(text)


def _real(loader: _Loader, node: Any) -> float:
    return float(
        loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
    )


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)


def load_yaml(text: str) -> Any:
    """Return what YAML text holds.

    Raises:
        yaml.YAMLError: it is no YAML, has a key twice, or is larger or deeper than settings are.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"it has {len(text):,} characters, more than {LARGEST:,}")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, TypeError, RecursionError) as error:  # such as a number of 5,000 digits
        raise yaml.YAMLError(f"it holds something that cannot be read: {error}") from error
    finally:
        loader.dispose()


def dump_yaml(content: Any) -> str:
    """Return YAML text that `load_yaml` turns into the same again."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        OSError: it is no file, or cannot be read.
        UnicodeDecodeError: it is not UTF-8.
        yaml.YAMLError: as `load_yaml`.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is a folder or a device, and not a file")
    if path.stat().st_size > 4 * LARGEST:
        raise yaml.YAMLError(f"it has {path.stat().st_size:,} bytes")
    return load_yaml(path.read_text(encoding="utf-8-sig"))
