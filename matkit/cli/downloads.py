"""``matkit data download``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matkit.cli.data_options import DownloadOptions
from matkit.cli.display import Display
from matkit.cli.progress import Meter, metered
from matkit.data.download import OnProgress, download, find_set, published_sets
from matkit.errors import ConfigError
from matkit.runs.locking import alone

OK = 0


def run_download(options: DownloadOptions, display: Display) -> int:
    """Fetch a published data set and say under which licence it is."""
    if options.set is None:
        lines = (f"{name} ({one.description})" for name, one in published_sets().items())
        raise ConfigError(f"Expected the name of a data set, got none. Known: {'; '.join(lines)}.")
    source = find_set(options.set)
    if options.url is not None:
        source = replace(source, url=options.url.rstrip("/"))
    folder = Path(options.out if options.out is not None else options.set)
    with alone(folder), metered(display, options.set) as meter:
        paths = download(source, folder, options.overwrite, _shown_by(meter))
    for path in paths.values():
        display.result(f"{path}: {path.stat().st_size:,} bytes, as published")
    display.result(f"Licence: {source.licence}\nCite: {source.citation}")
    files = {name: str(path) for name, path in paths.items()}
    display.document({"files": files, "licence": source.licence, "citation": source.citation})
    return OK


def _shown_by(meter: Meter) -> OnProgress:
    def show(name: str, done: int, total: int | None) -> None:
        of = "" if total is None else f" of {total / 1e6:.1f}"
        meter.show(done, total, f"{name}, {done / 1e6:.1f}{of} MB")

    return show
