"""Checks of geometry and chemistry by PoseBusters (Buttenschoen et al., Chem. Sci. 15, 3130, 2024).

They are done on molecules that are valid by their bonds; published is the share of all that was
drawn, as some papers do not. `mol` adds to `mol_fast` the energy beside that of fifty conformers.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matkit.errors import MissingExtraError
from matkit.molecules.judging import DrawnMolecule, judge_molecules
from matkit.molecules.options import PoseChecks
from matkit.runs.items import Item, ItemResult, failed

PROTOCOL = "valid, and passes all checks of PoseBusters ({checks}); of all that was drawn"


@dataclass(frozen=True)
class PoseBuster:
    """Checks molecules; may be sent to other processes.

    Attributes:
        checks: Which set of checks of PoseBusters.
    """

    checks: PoseChecks

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return which molecules passed: `done`; the others are `rejected`, with the checks."""
        return [self._checked(item) for item in items]

    def _checked(self, item: Item) -> ItemResult:
        (found,) = judge_molecules([DrawnMolecule(item.source, item.content, item.reason)])
        if not found.verdict.valid:
            return ItemResult(item, "rejected", reason=found.verdict.reason)
        try:
            missed = _missed(found.verdict.molecule, self.checks)
        except Exception as error:  # it leads through many libraries
            return failed(item, error)
        return ItemResult(item, "rejected" if missed else "done", reason=", ".join(missed))


def check_installed() -> None:
    """Refuse to begin without PoseBusters.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import posebusters  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'These checks need PoseBusters: pip install "matkit[posebusters]"'
        ) from error


def _missed(molecule: Any, checks: PoseChecks) -> list[str]:
    """Return the checks that a molecule does not pass; what could not be computed is passed."""
    # It leaves RDKit's messages to what is the standard error now, which may be closed later on.
    with warnings.catch_warnings(), redirect_stderr(sys.__stderr__):
        warnings.simplefilter("ignore")  # of pandas
        (row,) = _buster(checks).bust([molecule]).to_dict("records")
    return [name for name, passed in row.items() if passed is not None and not passed]


@lru_cache(maxsize=1)
def _buster(checks: PoseChecks) -> Any:
    from posebusters import PoseBusters

    # It says of every molecule without conformers of its own that there are none.
    logging.getLogger("posebusters").setLevel(logging.ERROR)
    return PoseBusters(config=checks)
