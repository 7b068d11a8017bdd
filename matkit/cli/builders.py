"""``matkit data perturb`` and ``matkit data molecules``."""

from __future__ import annotations

from matkit.builders.options import BuilderOptions, MoleculesOptions, PerturbOptions
from matkit.builders.running import Built
from matkit.cli.display import Display
from matkit.cli.label import report_failures
from matkit.cli.progress import campaign
from matkit.options import dump_config
from matkit.runs.atomic import write_atomically

OK, SOME_FAILED = 0, 1


def run_perturb(options: PerturbOptions, display: Display) -> int:
    """Write perturbed crystals; the exit code is 1 if some crystals failed."""
    from matkit.builders.families import perturb

    with campaign(display, "crystals") as show:
        built = perturb(options, show)
    return _report({"perturbed": built}, options, display)


def run_molecules(options: MoleculesOptions, display: Display) -> int:
    """Write molecules; the exit code is 1 if some failed."""
    from matkit.builders.molecules import build_molecules

    with campaign(display, "molecules") as show:
        built = build_molecules(options, show)
    return _report(built, options, display)


def _report(parts: dict[str, Built], options: BuilderOptions, display: Display) -> int:
    for built in parts.values():
        write_atomically(built.files.path("-config.yaml"), dump_config(options).encode())
        display.result(
            f"{built.files.frames}: {built.frames} structures; {built.failed} failed, "
            f"{built.rejected} not used"
        )
        if built.pathless:
            display.result(f"molecules without a way to others: {built.pathless}")
        report_failures(built.reasons, built.files.ledger.name, display)
    counts = {
        name: {"out": str(b.files.frames), "frames": b.frames, "failed": b.failed}
        for name, b in parts.items()
    }
    display.document(counts)
    return SOME_FAILED if any(built.failed for built in parts.values()) else OK
