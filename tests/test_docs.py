"""Every command and every snippet of the README and of docs/ runs, and prints what it shows."""

import re
from importlib import import_module

import pytest

import matkit
from tests.docs_pages import blocks, check_printed, commands, is_slow, run_page, script
from tests.test_layers import ROOT

PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#([^)]+))?\)")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def params(pages):
    for page in pages:
        marks = [pytest.mark.slow] if is_slow(text_of(page)) else []
        yield pytest.param(page, marks=marks, id=page)


@pytest.mark.parametrize("page", list(params(PAGES)))
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(text_of(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_of_the_repository(page):
    for target, _ in LINK.findall(text_of(page)):
        assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script([str(path)])


def test_the_readme_is_short():
    assert len(text_of("README.md").encode()) <= 8192


def test_pages_are_in_the_navigation():
    navigation = text_of("mkdocs.yml")
    for page in PAGES[1:]:
        assert f" {page.removeprefix('docs/')}\n" in navigation, page


REFERENCE = re.findall(r"^::: (\S+)$", text_of("docs/api.md"), re.MULTILINE)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_names_what_exists(name):
    room, _, last = name.rpartition(".")
    assert getattr(import_module(room), last, None) or import_module(name)


def test_the_reference_has_every_public_function():
    named = {name.rpartition(".")[2] for name in REFERENCE}
    assert set(matkit.__all__) - {"__version__"} <= named


def test_what_is_printed_is_checked():
    page = "```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    run_page(page.format(2))
    with pytest.raises(AssertionError, match="expected\n3\n"):
        run_page(page.format(3))


def test_names_are_shared_by_the_blocks_of_a_page():
    run_page("```python\nx = 1\n```\n\n- a list\n\n    ```python\n    assert x == 1\n    ```\n")


def test_a_failing_command_fails_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="line 1: exit code 2"):
        run_page("```bash\nmatkit relax nothing.cif\n```\n")


def test_other_commands_need_a_reason():
    with pytest.raises(AssertionError, match="say why"):
        run_page("```bash\nrm -r folder\n```\n")
    run_page("<!-- not run: it would remove the folder -->\n```bash\nrm -r folder\n```\n")


@pytest.mark.parametrize("words", ["relax a.cif --fmaks 1", "models lost", "generate crystal --x"])
def test_flags_are_checked_also_where_a_command_is_not_run(words):
    page = "<!-- not run: it takes long -->\n```bash\nmatkit {}\n```\n"
    run_page(page.format("generate crystal out --num-samples 20"))
    with pytest.raises(AssertionError, match="No such|no such"):
        run_page(page.format(words))


def test_a_block_with_a_title_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page('```yaml title="md.yaml"\nsteps: 3\n```\n')
    assert (tmp_path / "md.yaml").read_text() == "steps: 3\n"


def test_output_may_go_to_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page("```bash\nmatkit template md > md.yaml\n```\n")
    assert "ensemble:" in (tmp_path / "md.yaml").read_text()


@pytest.mark.parametrize("text", ["```\nmatkit\n```\n", "```ruby\nputs\n```\n"])
def test_every_block_says_a_known_language(text):
    with pytest.raises(ValueError, match="blocks"):
        blocks(text)


def test_commands_go_over_several_lines():
    assert commands("# why\nmatkit md a.xyz \\\n    --steps 3  # few\n\nmatkit doctor\n") == [
        ["matkit", "md", "a.xyz", "--steps", "3"],
        ["matkit", "doctor"],
    ]


def test_dots_stand_for_anything():
    check_printed("12 of ... in ... s\n", "12 of 40 in 3.2 s\n")
