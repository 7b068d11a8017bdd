"""Whether a run goes on as it was begun."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any


def changed_settings(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    free: Collection[str] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return which settings differ, as ``lr = 0.1 then, 0.2 now; ...``; nothing if none does.

    An option that an earlier version did not have yet is one of `new` alone: the run was made with
    its default, which does what was done before there was an option.

    Args:
        old: Settings of the run that is to go on.
        new: Those of now.
        free: Settings that may differ.
        defaults: Those of options.
    """
    old = {name: defaults[name] for name in new if name in defaults} | dict(old)
    names = sorted((old.keys() | new.keys()) - set(free))
    return "; ".join(
        f"{name} = {old.get(name)!r} then, {new.get(name)!r} now"
        for name in names
        if old.get(name) != new.get(name)
    )
