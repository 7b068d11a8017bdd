"""The commands of ``matkit``. Nothing here imports torch or ASE before it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from matkit import __version__
from matkit.cli.configs import CONFIGS
from matkit.cli.flags import normalise, switches, with_flags

USAGE = 2
INTERRUPTED = 130


class Group(TyperGroup):
    """A command group whose flags may be spelled with underscores."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Normalise the words of the command line first."""
        return super().make_context(info_name, normalise(args, SWITCHES), *rest, **extra)


SWITCHES = switches(CONFIGS)
app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Molecular and materials modelling with machine-learned potentials.",
    pretty_exceptions_enable=False,
)
models = typer.Typer(no_args_is_help=True, help="The models that can be used by name.")
app.add_typer(models, name="models")


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"matkit {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="the version")
    ] = False,
) -> None:
    pass


def guarded(body: Callable[[], int], debug: bool) -> None:
    """Run `body` and leave with its exit code; errors users can cause become one message.

    Args:
        body: Returns the exit code.
        debug: Whether to let errors through with their traceback.
    """
    from matkit.cli.display import Display
    from matkit.errors import MatkitError

    try:
        code = body()
    except KeyboardInterrupt:
        Display().error("stopped by the user")
        code = INTERRUPTED
    except MatkitError as error:
        if debug:
            raise
        Display().error(str(error))
        code = USAGE
    raise typer.Exit(code)


def _simulation(command: str) -> Callable[..., None]:
    model = CONFIGS[command]

    def body(**flags: Any) -> None:
        config, as_json = flags.pop("config"), bool(flags.pop("json"))
        quiet, debug = bool(flags.pop("quiet")), bool(flags.pop("debug"))
        structures = [*(flags.pop("files") or []), *(flags.pop("struct") or [])]
        given = {name: value for name, value in flags.items() if value is not None}
        if structures:
            given["struct"] = structures

        def run() -> int:
            from matkit.cli.yaml_files import merge

            merged = merge(model, config, given)
            from matkit.cli.display import Display
            from matkit.cli.execute import execute

            return execute(command, merged, Display(as_json, quiet))

        guarded(run, debug)

    return with_flags(model, body)


def _add(command: str, text: str, *aliases: str) -> None:
    app.command(command, help=text)(_simulation(command))
    for alias in aliases:
        app.command(alias, help=text, hidden=True)(_simulation(command))


_add("singlepoint", "Compute energy, forces and stress.")
_add("relax", "Relax positions, and the cell if asked.", "geomopt")
_add("md", "Run molecular dynamics.")


@app.command("template")
def _template(
    command: Annotated[Literal["singlepoint", "relax", "md"], typer.Argument(help="which command")],
) -> None:
    """Print a configuration file with all options, their defaults and meaning."""
    from matkit.cli.yaml_files import template

    typer.echo(template(command, CONFIGS[command]), nl=False)


AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Debug = Annotated[bool, typer.Option("--debug", help="show where an error comes from")]


@app.command("doctor")
def _doctor(json: AsJson = False, debug: Debug = False) -> None:
    """Check the installation and the neighbour lists on this machine."""
    from matkit.cli.reports import report_doctor

    guarded(lambda: report_doctor(json), debug)


@models.command("list")
def _list(json: AsJson = False, debug: Debug = False) -> None:
    """List the models that can be used by name."""
    from matkit.cli.reports import report_models

    guarded(lambda: report_models(json), debug)


@models.command("info")
def _info(
    name: Annotated[str, typer.Argument(help="name or file of a model")],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what is known of one model."""
    from matkit.cli.reports import report_model

    guarded(lambda: report_model(name, json), debug)


__all__: Sequence[str] = ["app"]
