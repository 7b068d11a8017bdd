"""``matkit descriptors``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import model_info
from matkit.cli.display import Display, first_line
from matkit.cli.progress import metered
from matkit.data.reading import entries_of
from matkit.descriptors.files import Described, write_descriptors, writer_of
from matkit.descriptors.options import DescriptorsConfig
from matkit.descriptors.run import described, network_of, unfit
from matkit.errors import ConfigError, DataError, StructureError
from matkit.models.zoo import load_calculator
from matkit.options import dump_config
from matkit.runs.atomic import write_atomically
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions

OK, PROBLEMS = 0, 1


def run_descriptors(options: DescriptorsConfig, display: Display) -> int:
    """Write the descriptors of all structures that can be computed.

    Returns:
        Exit code: 1 if some could not be.

    Raises:
        ConfigError: there is no file, the model has no descriptors, or the name of the result has
            an unknown ending.
        OutputExistsError: the result is there already.
        StructureError: no structure can be computed.
    """
    out, config = _checked(options)
    calc = load_calculator(
        options.model, options.device, options.dtype, ignore_charge=options.ignore_charge
    )
    network_of(calc)
    info = model_info(calc)
    display.note(first_line(options.model, info["dtype"], info["device"], options.out))
    reasons: list[str] = []
    count = write_descriptors(out, _rows(options, calc, reasons, display))
    display.few([f"Left out: {reason}" for reason in reasons])
    if not count:
        raise StructureError(f"No structure has descriptors: {reasons[0]}")
    write_atomically(config, dump_config(options).encode())
    display.result(f"{count} structures, {len(reasons)} left out; descriptors per {options.per}")
    display.note(f"Wrote {out}")
    display.document(
        {
            "command": "descriptors",
            "model": info,
            "options": options.model_dump(),
            "versions": versions(),
            "structures": count,
            "left_out": reasons,
            "outputs": [str(out), str(config)],
        }
    )
    return PROBLEMS if reasons else OK


def _checked(options: DescriptorsConfig) -> tuple[Path, Path]:
    """Return where descriptors and settings go, before anything is computed."""
    out = Path(options.out)
    config = out.with_name(f"{out.stem}-config.yaml")
    if not options.struct:
        raise ConfigError("Expected files of structures: matkit descriptors FILES... OUT")
    writer_of(out)
    if not options.overwrite:
        refuse_existing([out, config])
    return out, config


def _rows(
    options: DescriptorsConfig, calc: BaseCalculator, reasons: list[str], display: Display
) -> Iterator[Described]:
    """Give structures with their descriptors, and add to `reasons` why others have none."""
    sources: list[str] = []
    with metered(display, "descriptors") as meter:
        found = described(
            _fit(options, calc, sources, reasons),
            calc,
            options,
            lambda count: meter.show(count, None, f"{count} structures"),
        )
        for i, (atoms, values) in enumerate(found):
            yield Described(sources[i], atoms, values)


def _fit(
    options: DescriptorsConfig, calc: BaseCalculator, sources: list[str], reasons: list[str]
) -> Iterator[Atoms]:
    for path in options.struct:
        try:
            for entry in entries_of(path, options.format):
                source = f"{path}[{entry.index}]"
                reason = entry.reason if entry.atoms is None else unfit(entry.atoms, calc)
                if reason or entry.atoms is None:
                    reasons.append(f"{source}: {reason}")
                    continue
                sources.append(source)
                yield entry.atoms
        except DataError as error:
            reasons.append(f"{path}: {error}")
