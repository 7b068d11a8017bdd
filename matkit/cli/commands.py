"""How a command is made from options, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from matkit.cli.flags import with_flags
from matkit.options import Options

if TYPE_CHECKING:
    from matkit.cli.display import Display

USAGE = 2
INTERRUPTED = 130


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


def command_for(
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


def last_is_out(files: list[str], given: Given, _has_config: bool) -> None:
    """Take the last of several words for the place of the results."""
    if "out" not in given and len(files) > 1:
        given["out"] = files.pop()


def only(option: str, expected: str) -> Callable[[list[str], Given, bool], None]:
    """Return what takes the one word without a flag for an option."""

    def take(files: list[str], given: Given, _has_config: bool) -> None:
        if len(files) + (option in given) > 1:
            raise typer.BadParameter(expected)
        if files:
            given[option] = files.pop()

    return take
