"""Pages of the documentation as programs: their blocks in order, and what these print.

A block of ``python`` or ``bash`` is run, ``text`` after it is what it prints, and a block with a
``title="NAME"`` is written to that file. ``<!-- not run: REASON -->`` above a block keeps it from
being run, but not the words of its commands from being checked; ``<!-- slow -->`` makes a page one
of the long tests.
"""

import contextlib
import doctest
import io
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from matkit.cli.app import app

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"(?P<indent> *)```(?P<language>[a-z]+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
RUN, SHOWN = ("python", "bash"), ("text", "yaml", "toml")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block, the line it is on, and why it is not run, if it is not."""

    language: str
    code: str
    line: int
    title: str | None = None
    reason: str | None = None


def blocks(text):
    """The fenced blocks of a page; all of them must say their language."""
    found = []
    for match in FENCE.finditer(text):
        line = text[: match.start("language")].count("\n") + 1
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        found.append(Block(match["language"], code, line, match["title"], match["reason"]))
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    if fences != 2 * len(found):
        raise ValueError(f"{fences} fences, but {len(found)} blocks with a language")
    unknown = {block.language for block in found} - {*RUN, *SHOWN}
    if unknown:
        raise ValueError(f"blocks of {unknown}; there are {RUN} and {SHOWN}")
    return found


def is_slow(text):
    """Whether a page says that it takes long."""
    return text.startswith("<!-- slow -->")


def run_page(text):
    """Run a page in the present folder; AssertionError where it prints something else."""
    namespace = {"__name__": "__main__"}
    printed = None
    for block in blocks(text):
        try:
            printed = _run(block, namespace, printed)
        except Exception as error:
            raise AssertionError(f"line {block.line}: {error}\n{block.code}") from error


def _run(block, namespace, printed):
    """What a block prints; None if that may not be looked at."""
    if block.reason is not None:
        check_words(block)
        return None
    if block.title is not None:
        Path(block.title).write_text(block.code, encoding="utf-8")
    if block.language == "python":
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block.code, f"line {block.line}", "exec"), namespace)
        return out.getvalue()
    if block.language == "bash":
        return "".join(command(words) for words in commands(block.code))
    if block.language == "text" and printed is not None:
        check_printed(block.code, printed)
    return None


def check_words(block):
    """Raise if commands of matkit in a block that is not run have a flag that there is not."""
    if block.language != "bash":
        return
    for words in commands(block.code):
        if words[0] == "matkit":
            command = get_command(app)
            context = command.make_context("matkit", words[1:])
            while hasattr(command, "resolve_command"):
                rest = [*context._protected_args, *context.args]
                name, command, rest = command.resolve_command(context, rest)
                context = command.make_context(name, rest, parent=context)


def check_printed(expected, printed):
    """AssertionError if something else was printed; ``...`` stands for anything."""
    same = doctest.OutputChecker().check_output(expected, printed, OPTIONS)
    assert same, f"expected\n{expected}\nbut it prints\n{printed}"


def commands(code):
    """The words of every command of a block."""
    lines = code.replace("\\\n", " ").splitlines()
    words = (shlex.split(line, comments=True) for line in lines)
    return [line for line in words if line]


def command(words):
    """What a command prints to the standard output: of matkit, or a script of Python."""
    if ">" in words:
        Path(words[words.index(">") + 1]).write_text(command(words[: words.index(">")]))
        return ""
    if words[0] == "matkit":
        result = CliRunner().invoke(app, words[1:])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, f"exit code {result.exit_code}: {result.output}"
        return result.stdout
    if words[0] == "python" and len(words) > 1 and words[1].endswith(".py"):
        return script(words[1:])
    raise ValueError(f"{words[0]} cannot be run here: say why by <!-- not run: REASON -->")


def script(words):
    """What a script of Python prints."""
    out, before = io.StringIO(), sys.argv
    sys.argv = list(words)
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv = before
    return out.getvalue()
