"""No figure depends on how fast the machine is."""

import ast
from pathlib import Path

import matkit

SOURCES = sorted(Path(matkit.__file__).parent.rglob("*.py"))


def calls(path, name):
    """Calls of methods of a name in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == name:
            yield node


def test_matplotlib_is_never_left_to_look_for_a_place_of_the_legend():
    """It warns when that takes long, and warnings are errors."""
    free = [
        f"{path.name}:{call.lineno}"
        for path in SOURCES
        for call in calls(path, "legend")
        if not any(
            keyword.arg == "loc" and ast.literal_eval(keyword.value) != "best"
            for keyword in call.keywords
        )
    ]
    assert SOURCES
    assert not free
