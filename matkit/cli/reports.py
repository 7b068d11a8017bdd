"""What ``matkit doctor`` and ``matkit models`` print."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from matkit import doctor
from matkit.models import cards

_MARKS = {True: "[green]ok[/green]", False: "[red]WRONG[/red]"}


def report_doctor(as_json: bool) -> int:
    """Print every check; the exit code is 1 if one found something wrong."""
    checks = doctor.examine()
    ok = all(check.ok for check in checks)
    if as_json:
        _print_json({"ok": ok, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        _print_checks(checks)
    return 0 if ok else 1


def report_models(as_json: bool) -> int:
    """Print all models that have a name."""
    known = cards.models()
    if as_json:
        _print_json({name: dataclasses.asdict(card) for name, card in known.items()})
        return 0
    names = Column("model", no_wrap=True)  # to be typed as they stand
    table = Table(names, "kind", "ready", "licence", "what it is")
    for name, card in known.items():
        ready = "yes" if card.available else f"after {card.install}"
        table.add_row(*map(escape, (name, card.kind, ready, card.licence, card.description)))
    Console().print(table)
    return 0


def report_model(name: str, as_json: bool) -> int:
    """Print the card of one model."""
    card = dataclasses.asdict(cards.model_card(name))
    if as_json:
        _print_json(card)
        return 0
    table = Table.grid(padding=(0, 2))
    for key, value in card.items():
        if value not in (None, ""):
            table.add_row(key.replace("_", " "), str(value))
    Console(markup=False).print(table)
    return 0


def _print_checks(checks: list[doctor.Check]) -> None:
    table = Table("check", "", "details")
    for check in checks:
        table.add_row(check.name, _MARKS[check.ok], escape(check.detail))
    Console().print(table)
    wrong = [check.name for check in checks if not check.ok]
    Console().print(f"Wrong: {', '.join(wrong)}" if wrong else "Everything is as it should be.")


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))
