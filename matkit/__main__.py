"""``python -m matkit``, the same as the command ``matkit``."""

from matkit.cli import main

main()
