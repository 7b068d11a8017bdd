"""``matkit data``: inspect, convert, split and fit-e0s."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from matkit.cli.data_options import (
    ConvertOptions,
    FilesOptions,
    FitOptions,
    InspectOptions,
    SplitOptions,
)
from matkit.cli.data_reports import report_document, report_lines
from matkit.cli.display import Display
from matkit.cli.progress import metered
from matkit.data.cached import Located, convert, is_folder
from matkit.data.dataset import Dataset, located_atoms, read_dataset, read_usable
from matkit.data.histograms import draw_histograms
from matkit.data.inspection import KnownElements, inspect
from matkit.data.labels import LabelReport
from matkit.data.references import fit_references
from matkit.data.sanity import problems, told
from matkit.data.splitting import remarks_on, split_indices
from matkit.data.writing import is_xyz, write_dataset
from matkit.elements import SYMBOLS
from matkit.errors import ConfigError, MatkitError
from matkit.evaluate.label_judgement import compare_with_model
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing

OK, PROBLEMS = 0, 1
LONG_NAMES = {"valid": "validation", "test": "test"}


def run_data(command: str, options: FilesOptions, display: Display) -> int:
    """Run one command; the exit code is 1 if the data have a problem."""
    if not options.struct:
        raise ConfigError("Expected at least one file with structures, got none. Name it: FILES...")
    commands: dict[str, Callable[[Any, Display], int]] = {
        "inspect": run_inspect,
        "convert": run_convert,
        "split": run_split,
        "fit-e0s": run_fit,
    }
    with _alone(command, options):
        return commands[command](options, display)


def _alone(command: str, options: FilesOptions) -> AbstractContextManager[None]:
    """Keep other runs from what a command writes, if anything."""
    out = getattr(options, "out", None)
    if out is None:
        return nullcontext()
    path = Path(out)
    return alone(path) if command in ("inspect", "split") else alone(path.parent, path.name)


def run_inspect(options: InspectOptions, display: Display) -> int:
    """Examine data sets and print what was found."""
    given = {"train": options.struct, "valid": options.valid, "test": options.test}
    faults: dict[str, list[str]] = {name: [] for name in given}
    sets = {
        name: read_dataset(files, options.label_keys(), faults[name], options.format)
        for name, files in given.items()
        if files
    }
    judges = dict.fromkeys((DEFAULT_POTENTIAL, options.model or DEFAULT_POTENTIAL))
    compared = {
        name: [finding for judge in judges for finding in compare_with_model(one, judge)]
        for name, one in sets.items()
    }
    known = _known_elements(options.model, sets.values())
    report = inspect(sets, known, faults, options.near, compared)
    for line in report_lines(report):
        display.result(line)
    files: list[Path] = []
    if options.out is not None:
        files = draw_histograms(sets, report.residuals, options.out)
    document = report_document(
        report, {name: one.label_report for name, one in sets.items()}, files
    )
    if options.out is not None:
        _write_json(Path(options.out) / "report.json", document)
        display.note(f"Histograms and report.json are in {options.out}.")
    display.document(document)
    return OK if report.ok else PROBLEMS


def run_convert(options: ConvertOptions, display: Display) -> int:
    """Write structures to a folder that is mapped into memory, or as extended XYZ."""
    if options.out is None:
        raise ConfigError("Expected where to write, got nothing. matkit data convert FILES... OUT")
    unread: list[str] = []
    if is_xyz(options.out) or is_folder(options.struct[0]):
        dataset, unread = _read(options, display)
        write_dataset(dataset, _xyz_of(options.out), options.overwrite)
        labels = dataset.label_report
    else:
        try:
            with _counted(located_atoms(options.struct, options.format, unread), display) as atoms:
                labels = convert(atoms, options.out, options.label_keys(), options.overwrite)
        finally:
            display.few(unread)
    _tell_problems(labels, display)
    display.result(f"{options.out}: {labels}")
    counts = {name: getattr(labels, name).count for name in ("energy", "forces", "stress")}
    counts_of_all = {"structures": labels.structures, "unreadable": len(unread)}
    display.document({"out": options.out, **counts_of_all, "labels": counts})
    return PROBLEMS if unread else OK


def run_split(options: SplitOptions, display: Display) -> int:
    """Write training, validation and test files."""
    wanted = {"valid": options.valid_fraction, "test": options.test_fraction}
    fractions = {"train": 1 - sum(wanted.values()), **{k: v for k, v in wanted.items() if v}}
    paths = {name: Path(options.out) / f"{name}.extxyz" for name in fractions}
    if not options.overwrite:
        refuse_existing(paths.values())
    dataset, unread = _read(options, display)
    parts, notes = split_indices(dataset, list(fractions.values()), options.seed, options.by)
    for note in notes:
        display.note(note)
    rows: dict[str, dict[str, Any]] = {}
    for (name, path), part in zip(paths.items(), parts, strict=True):
        subset = dataset.subset(part)
        write_dataset(subset, path, options.overwrite)
        rows[name] = {
            "file": str(path),
            "structures": len(subset),
            "fraction": len(subset) / len(dataset),
            "groups": len(set(subset.groups)),
            "remarks": notes + (remarks_on({LONG_NAMES[name]: len(subset)}) if rows else []),
        }
        display.result(
            f"{path}: {len(subset)} structures ({100 * len(subset) / len(dataset):.1f} %; asked "
            f"{100 * fractions[name]:.1f} %), {len(set(subset.groups))} groups"
        )
        display.few(rows[name]["remarks"][len(notes) :])
    display.document(rows)
    return PROBLEMS if unread else OK


def run_fit(options: FitOptions, display: Display) -> int:
    """Fit reference energies, print them beside those of isolated atoms, and write them."""
    if options.out is not None and not options.overwrite:
        refuse_existing([Path(options.out)])
    both, unread = _read(options, display)
    dataset, isolated = both.without_isolated(), both.isolated()
    fit = fit_references(dataset, dataset.structures.system["energy"])
    display.result("element   fitted E0 (eV)   isolated atom (eV)")
    for z, energy in fit.e0s.items():
        atom = f"{isolated[z]:.6f}" if z in isolated else "-"
        display.result(f"{SYMBOLS[z]:7s} {energy:16.6f} {atom:>20s}")
    rest = fit.residuals[fit.residuals.isfinite()]
    spread = float(rest.square().mean().sqrt())
    display.result(
        f"left of {len(rest)} energies: {1000 * spread:.1f} meV/atom (root mean square), "
        f"{1000 * float(rest.abs().max()):.1f} at most"
    )
    if not fit.determined:
        display.note(
            "The elements always come in the same proportions: only sums of these energies mean "
            "something, and the smallest that fit were taken."
        )
    table = {SYMBOLS[z]: energy for z, energy in fit.e0s.items()}
    if options.out is not None:
        _write_json(Path(options.out), table)
    display.document({"e0s": table, "determined": fit.determined, "rms": spread})
    return PROBLEMS if unread else OK


@contextmanager
def _counted(atoms: Iterable[Located], display: Display) -> Iterator[Iterator[Located]]:
    """Show how many structures have passed; nobody knows how many there are."""
    with metered(display, "converting") as meter:

        def passing() -> Iterator[Located]:
            for count, one in enumerate(atoms, start=1):
                meter.show(count, None, f"{count} structures")
                yield one

        yield passing()


def _read(options: FilesOptions, display: Display) -> tuple[Dataset, list[str]]:
    """Return the structures, and why some cannot be read, which is said."""
    dataset, unread = read_usable(options.struct, options.label_keys(), options.format)
    display.few(unread)
    _tell_problems(dataset.label_report, display)
    return dataset, unread


def _tell_problems(labels: LabelReport, display: Display) -> None:
    """Say what the structures say of themselves, which the result does not carry on."""
    for problem in problems(labels.remarks):
        display.error(told(problem))


def _known_elements(model: str | None, sets: Iterable[Dataset]) -> KnownElements | None:
    """Return the elements of a model, and whether it could learn those that the sets have more."""
    if model is None:
        return None
    from matkit.models.grow import extended
    from matkit.models.zoo import load

    network = load(model).network
    present = {z for one in sets for z in one.structures.species.unique().tolist()}
    try:
        if unknown := sorted(present - set(network.species)):
            extended(network, unknown)
    except MatkitError as error:
        return KnownElements(model, network.species, str(error).rstrip("."))
    return KnownElements(model, network.species)


def _xyz_of(out: str) -> str:
    if not is_xyz(out):
        raise ConfigError(
            f"Expected an extended XYZ file to write a converted folder to, got {out!r}. Name it "
            "OUT.extxyz."
        )
    return out


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
