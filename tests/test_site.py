"""The documentation as a whole: the command line's page is the commands' own, the site builds."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

import uncollapse
from uncollapse import adapters
from uncollapse.cli import app

ROOT = Path(__file__).parent.parent
FETCHED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^>]*>')


def test_the_page_of_the_command_line_is_the_commands_own():
    commands = typer.main.get_command(app)
    text = get_docs_for_click(obj=commands, ctx=typer.Context(commands), name="uncollapse")
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == text.strip() + "\n", "docs/cli.md is stale: make docs"


def test_the_reference_has_every_public_name_and_no_other():
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    listed = re.findall(r"^::: uncollapse\.(?:\w+\.)*(\w+)$", page, re.MULTILINE)
    public = {*uncollapse.__all__, *adapters.__all__} - {"__version__"}
    assert sorted(listed) == sorted(public)


def test_no_page_has_a_number_left_to_be_filled_in():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    left = {page.name: re.findall(r"@[A-Z]\w*@", page.read_text("utf-8")) for page in pages}
    assert not any(left.values()), left


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    built = {page.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("*.html")}
    pages = {f"docs/{page.stem}.html" for page in (ROOT / "docs").glob("*.md")}
    pages = pages - {"docs/index.html"} | {"index.html", "overview.html"}
    assert built >= pages | {"CHANGELOG.html", "configs/index.html"}
    for name, language in itertools.product(("embeddings", "pilot", "explorer"), ("en", "ja")):
        assert f"docs/samples/{name}.{language}.html" in built
    assert "<mfrac>" in (tmp_path / "docs" / "theory.html").read_text("utf-8")
    assert (tmp_path / "search" / "search_index.js").exists()
    assert (tmp_path / "configs" / "digits.yaml").exists()
    for page in built:
        assert not FETCHED.search((tmp_path / page).read_text("utf-8")), page


def test_every_picture_says_what_it_shows_and_stands_in_the_gallery():
    gallery = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for text, target in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text("utf-8")):
            assert len(text) > 100, (page.name, target)
            assert f"figures/{Path(target).name}" in gallery
            assert f"docs/figures/{Path(target).stem}.py" in gallery
