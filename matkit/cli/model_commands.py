"""``matkit models``: the models that have a name, and files made from others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matkit.cli.commands import guarded

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Debug = Annotated[bool, typer.Option("--debug", help="show where an error comes from")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace the file")]
Out = Annotated[Path, typer.Argument(help="model file to write, *.safetensors")]
Text = Annotated[str | None, typer.Option(help="what the card says; wins over --card")]

models = typer.Typer(no_args_is_help=True)


@models.command("list")
def _list(json: AsJson = False, debug: Debug = False) -> None:
    """List the models that can be used by name."""
    from matkit.cli.reports import report_models

    guarded(lambda: report_models(json), debug)


@models.command("info", epilog="Example: matkit models info nequip-universal")
def _info(
    name: Annotated[str, typer.Argument(help="name or file of a model")],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what is known of one model."""
    from matkit.cli.reports import report_model

    guarded(lambda: report_model(name, json), debug)


@models.command(
    "grow", epilog="Example: matkit models grow sevennet-0 out.safetensors --elements Po"
)
def _grow(
    model: Annotated[str, typer.Argument(help="name or file of a potential")],
    out: Out,
    elements: Annotated[str, typer.Option(help="further elements, such as Li,F")] = "",
    settings: Annotated[
        str, typer.Option("--set", help="hyper-parameters that change, such as '{layers: 2}'")
    ] = "",
    overwrite: Overwrite = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Give a model further elements or layers, to be fine-tuned; its predictions stay."""

    def run() -> int:
        from matkit.cli.display import Display
        from matkit.cli.growing import run_grow

        return run_grow(model, out, elements, settings, overwrite, Display(json))

    guarded(run, debug)


@models.command(
    "convert", epilog="Example: matkit models convert mace.model out.safetensors --head default"
)
def _convert(
    file: Annotated[Path, typer.Argument(help="model file of MACE, *.model or *.pt")],
    out: Out,
    head: Annotated[str | None, typer.Option(help="head to take, if there are several")] = None,
    licence: Text = None,
    training_data: Text = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Convert a model of MACE, without running what is in its file."""
    texts = {"licence": licence, "training_data": training_data}

    def run() -> int:
        from matkit.cli.converting import run_convert
        from matkit.cli.display import Display

        return run_convert((file, out), head, texts, overwrite, Display(json))

    guarded(run, debug)


@models.command("trim", epilog="Example: matkit models trim nequip-universal small.safetensors")
def _trim(
    model: Annotated[str, typer.Argument(help="name or file of a model of the NequIP family")],
    out: Out,
    structures: Annotated[
        Path | None, typer.Option(help="structures whose distances are fitted; default: crystals")
    ] = None,
    basis_size: Annotated[int, typer.Option(help="radial functions of the linear maps")] = 12,
    overwrite: Overwrite = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Replace the radial networks of a model by linear maps, to fine-tune a smaller model."""

    def run() -> int:
        from matkit.cli.display import Display
        from matkit.cli.trimming import run_trim

        return run_trim(model, out, structures, basis_size, overwrite, Display(json))

    guarded(run, debug)


@models.command(
    "pack", epilog="Example: matkit models pack results/run out.safetensors --licence MIT"
)
def _pack(
    run: Annotated[Path, typer.Argument(help="folder of a training run, or a model file")],
    out: Out,
    card: Annotated[Path | None, typer.Option(help="YAML file of what the card says")] = None,
    description: Text = None,
    licence: Text = None,
    citation: Text = None,
    training_data: Text = None,
    last: Annotated[bool, typer.Option("--last", help="take the last epoch, not the best")] = False,
    overwrite: Overwrite = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a trained model as one file to give to others, with its card."""
    flags = {
        "description": description,
        "licence": licence,
        "citation": citation,
        "training_data": training_data,
    }

    def write() -> int:
        from matkit.cli.display import Display
        from matkit.cli.packing import card_of, run_pack

        return run_pack(run, out, card_of(card, flags), last, overwrite, Display(json))

    guarded(write, debug)
