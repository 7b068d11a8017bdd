"""The commands of ``matkit``. Nothing here imports torch or ASE before it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from matkit import __version__
from matkit.builders.options import MoleculesOptions, PerturbOptions
from matkit.cli.configs import ALL, CONFIGS, TEMPLATES, TRAINING
from matkit.cli.data_options import DATA, OPTIONS, DownloadOptions
from matkit.cli.flags import answered, normalise, switches, with_flags
from matkit.crystals.generation import CrystalOptions
from matkit.crystals.options import CrystalsOptions
from matkit.evaluate.options import EvaluateOptions
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.label.options import LabelConfig
from matkit.options import Options

if TYPE_CHECKING:
    from matkit.cli.display import Display

USAGE = 2
INTERRUPTED = 130


class CommandGroup(TyperGroup):
    """A command group whose flags may be spelled with underscores."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Normalise the words of the command line first."""
        words = normalise(args, SWITCHES)
        if words[:1] in (["evaluate"], ["eval"]) and words[1:2] in (["crystals"], ["physics"]):
            words[:2] = [f"evaluate {words[1]}"]  # shares no flag with the evaluation of a model
        return super().make_context(info_name, words, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; flags of other programs get an answer."""
        with answered():
            return super().invoke(ctx)


CRYSTALS, PHYSICS = "evaluate crystals", "evaluate physics"
BUILDERS: dict[str, type[Options]] = {"perturb": PerturbOptions, "molecules": MoleculesOptions}
MORE: dict[str, type[Options]] = {
    CRYSTALS: CrystalsOptions,
    PHYSICS: PhysicsOptions,
    "label": LabelConfig,
    "generate crystal": CrystalOptions,
}
SWITCHES = switches({**ALL, **OPTIONS, **BUILDERS, **MORE})
app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Molecular and materials modelling with machine-learned potentials.",
    pretty_exceptions_enable=False,
)
models = typer.Typer(no_args_is_help=True, help="The models that can be used by name.")
app.add_typer(models, name="models")
generate = typer.Typer(no_args_is_help=True, help="Generate crystals.")
app.add_typer(generate, name="generate")
data = typer.Typer(no_args_is_help=True, help="Check, convert and split labelled structures.")
app.add_typer(data, name="data")


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
    except OSError as error:  # a full disk, a folder that is read-only or is a file, ...
        if debug:
            raise
        Display().error(
            f"{error}. Look at this place and at the space on the disk; what was computed before "
            "is kept."
        )
        code = USAGE
    raise typer.Exit(code)


Given = dict[str, Any]


def _command(
    model: type[Options],
    start: Callable[[Any, Display], int],
    words: str = "[FILES]...",
    sort: Callable[[list[str], Given, bool], None] | None = None,
    choose: Callable[[str | None, Given], type[Options]] | None = None,
) -> Callable[..., None]:
    """Return a command whose flags are the options of `model`.

    Args:
        model: Its options.
        start: Does it and returns the exit code.
        words: What words without a flag are called in the help; empty if there are none.
        sort: Puts these words into the options that were given; told whether there is a file of
            options too. By default they are more of `struct`. It may name a file of options.
        choose: Says which options are meant, if not `model`, from the file and the flags.
    """

    def body(**flags: Any) -> None:
        config, as_json = flags.pop("config"), bool(flags.pop("json"))
        quiet, debug = bool(flags.pop("quiet")), bool(flags.pop("debug"))
        files = flags.pop("files", None) or []
        given = {name: value for name, value in flags.items() if value not in (None, [])}
        if sort is not None:
            sort(files, given, config is not None)
            config = given.pop("config", config)
        if files:
            given["struct"] = [*files, *given.get("struct", [])]

        def run() -> int:
            from matkit.cli.display import Display
            from matkit.cli.yaml_files import merge

            meant = model if choose is None else choose(config, given)
            return start(merge(meant, config, given), Display(as_json, quiet))

        guarded(run, debug)

    return with_flags(model, body, words)


def _simulation(command: str) -> Callable[..., None]:
    def start(config: Any, display: Display) -> int:
        from matkit.cli.execute import execute

        return execute(command, config, display)

    return _command(CONFIGS[command], start)


def _last_is_out(files: list[str], given: Given, _has_config: bool) -> None:
    if "out" not in given and len(files) > 1:
        given["out"] = files.pop()


def _only(option: str, expected: str) -> Callable[[list[str], Given, bool], None]:
    """Return what takes the one word without a flag for an option."""

    def take(files: list[str], given: Given, _has_config: bool) -> None:
        if len(files) + (option in given) > 1:
            raise typer.BadParameter(expected)
        if files:
            given[option] = files.pop()

    return take


def _data(command: str) -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.data import run_data

        return run_data(command, options, display)

    if command == "convert":
        return _command(DATA[command], start, "FILES... OUT", _last_is_out)
    return _command(DATA[command], start, "FILES...")


def _download() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.downloads import run_download

        return run_download(options, display)

    only = _only("set", "expected one data set; fetch one after another")
    return _command(DownloadOptions, start, "SET", only)


def _training(command: str) -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.training import run_training

        return run_training(options, display)

    def first_is_config(files: list[str], given: Given, has_config: bool) -> None:
        if len(files) + has_config > 1:
            raise typer.BadParameter("expected one configuration file; train one after another")
        if files:
            given["config"] = files.pop()

    def choose(config: str | None, given: Given) -> type[Options]:
        from matkit.cli.training import training_options

        return training_options(config, given)

    if command == "train":
        return _command(TRAINING[command], start, "[CONFIG]", first_is_config, choose)
    return _command(TRAINING[command], start, words="")


def _first_is_model(files: list[str], given: Given, has_config: bool) -> None:
    if files and not has_config and "model" not in given:
        given["model"] = files.pop(0)


def _evaluation() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.evaluation import run_evaluation

        return run_evaluation(options, display)

    return _command(EvaluateOptions, start, "MODEL FILES...", _first_is_model)


def _physics() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.physics import run_physics

        return run_physics(options, display)

    return _command(PhysicsOptions, start, "MODEL [CRYSTALS]...", _first_is_model)


def _crystals() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.crystals import run_crystals

        return run_crystals(options, display)

    return _command(CrystalsOptions, start, "FOLDERS...")


def _generation() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.generate import run_generate

        return run_generate(options, "crystal", display)

    only = _only("out", "expected one folder for the results")
    return _command(CrystalOptions, start, "[OUT]", only)


def _transition_state() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.ts import run_ts

        return run_ts(options, display)

    return _command(ALL["ts"], start, "REACTANT PRODUCT | GUESS")


def _labels() -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.label import run_label

        return run_label(options, display)

    return _command(LabelConfig, start, "FILES... OUT", _last_is_out)


def _builder(command: str) -> Callable[..., None]:
    def start(options: Any, display: Display) -> int:
        from matkit.cli.builders import run_molecules, run_perturb

        return (run_perturb if command == "perturb" else run_molecules)(options, display)

    return _command(BUILDERS[command], start, "FILES... OUT", _last_is_out)


def _add(command: str, text: str, *aliases: str) -> None:
    app.command(command, help=text)(_simulation(command))
    for alias in aliases:
        app.command(alias, help=text, hidden=True)(_simulation(command))


_add("singlepoint", "Compute energy, forces and stress.")
_add("relax", "Relax positions, and the cell if asked.", "geomopt")
_add("md", "Run molecular dynamics.")
_add("vibrations", "Vibrations and thermochemistry of molecules.")
_add("phonons", "Phonons and thermal properties of crystals.")
app.command("ts", help="Find a transition state and the minima it connects.")(_transition_state())
data.command("inspect", help="Look for everything that spoils a training.")(_data("inspect"))
data.command("convert", help="Write a folder for memory mapping, or XYZ.")(_data("convert"))
data.command("split", help="Split without tearing trajectories apart.")(_data("split"))
data.command("fit-e0s", help="Fit reference energies of the elements.")(_data("fit-e0s"))
data.command("perturb", help="Make perturbed structures of crystals.")(_builder("perturb"))
data.command("molecules", help="Make molecules from SMILES.")(_builder("molecules"))
data.command("download", help="Fetch a published data set.")(_download())
generate.command("crystal", help="Generate crystals, relax and judge them.")(_generation())
app.command("label", help="Label structures with any calculator.")(_labels())
app.command("train", help="Train a new potential or generator.")(_training("train"))
app.command("finetune", help="Train a known potential further.")(_training("finetune"))
app.command("evaluate", help="Compare a model with labelled structures.")(_evaluation())
app.command("eval", help="The same as evaluate.", hidden=True)(_evaluation())
app.command(CRYSTALS, help="Score generated crystals, alone or against others.")(_crystals())
app.command(PHYSICS, help="Check a model on physics: curves, dynamics, phonons.")(_physics())


@app.command("template")
def _template(
    command: Annotated[
        Literal[
            "singlepoint",
            "relax",
            "md",
            "vibrations",
            "phonons",
            "ts",
            "train",
            "train-generator",
            "finetune",
            "evaluate",
            "label",
        ],
        typer.Argument(help="which command"),
    ],
) -> None:
    """Print a configuration file with all options, their defaults and meaning."""
    from matkit.cli.yaml_files import template

    configs: dict[str, type[Options]] = {**TEMPLATES, "label": LabelConfig}
    typer.echo(template(command.removesuffix("-generator"), configs[command]), nl=False)


AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Debug = Annotated[bool, typer.Option("--debug", help="show where an error comes from")]


@app.command("doctor")
def _doctor(json: AsJson = False, debug: Debug = False) -> None:
    """Check the installation and the neighbour lists on this machine."""
    from matkit.cli.reports import report_doctor

    guarded(lambda: report_doctor(json), debug)


@app.command("trim")
def _trim(
    model: Annotated[str, typer.Argument(help="name or file of a model of the NequIP family")],
    out: Annotated[Path, typer.Argument(help="model file to write, *.safetensors")],
    structures: Annotated[
        Path | None, typer.Option(help="structures whose distances are fitted; default: crystals")
    ] = None,
    basis_size: Annotated[int, typer.Option(help="radial functions of the linear maps")] = 12,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file")] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Replace the radial networks of a model by linear maps, to fine-tune a smaller model."""

    def run() -> int:
        from matkit.cli.display import Display
        from matkit.cli.trimming import run_trim

        return run_trim(model, out, structures, basis_size, overwrite, Display(json))

    guarded(run, debug)


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
