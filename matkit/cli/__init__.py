"""The command line: ``matkit relax``, ``matkit md`` and the others."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    from matkit.cli.app import app
    from matkit.cli.encoding import spell_out
    from matkit.cli.signals import ending_in_order

    spell_out()
    with ending_in_order():
        app()
