"""What the checks of universal models have in common: arguments, and results as table and JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import table

Rows = list[dict[str, object]]


def arguments(description: str, name: str) -> argparse.ArgumentParser:
    """Return a parser that takes models and says where results go."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("models", nargs="+", help="names or files")
    default = Path(f"../results/universal-{name}.json")
    parser.add_argument("--json", type=Path, default=default)
    return parser


def report(rows: Rows, path: Path) -> None:
    """Write rows as JSON and print them as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))
    print(table(rows))
