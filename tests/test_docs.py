"""The README and every page of docs/ do what they say.

A page's `console` and `python` blocks run in order in one empty folder. A `console` block holds
commands (`$ ...`) with what they print; `...` on a line of its own stands for lines left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import run_here, script

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLES = "samples/"  # made by the site's build, which tests/test_site.py looks at
OTHERS = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "configs/README.md")]
LONG = ("pilot.md", "real-data.md", "report.md", "stack.md")
# Usage lines, not commands; tests/test_site.py holds it to the commands themselves.
GENERATED = ("cli.md",)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    found = BLOCK.findall(page.read_text("utf-8"))
    return [(language, text) for language, text in found if language in ("console", "python")]


def run_in_shell(command: str, folder: Path) -> str:
    answer = subprocess.run(
        re.sub(r"^python\b", sys.executable, command),
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )
    return answer.stdout


def check_console(block: str, folder: Path) -> None:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        name, *words = command.split()
        if name == "uncollapse" and not re.search("[|;&]", command):
            printed = run_here(command)[1]
        elif name == "python" and words[0].startswith("benchmarks/"):
            answer = script(*words)
            printed = answer.stderr + answer.stdout
        else:
            printed = run_in_shell(command, folder)
        assert "Traceback" not in printed, f"{command}\nprinted\n{printed}"
        printed = re.sub(r" +$", "", printed, flags=re.MULTILINE).strip()
        pieces = re.split(r"^\.\.\.$", expected, flags=re.MULTILINE)
        pattern = ".*".join(re.escape(piece.strip()) for piece in pieces)
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{command}\nprinted\n{printed}"


# What Lightning and SetFit warn of on a page that shows them, and no page's own doing.
of_lightning = [
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
    "ignore:.*does not have many workers.*",
    "ignore:.*smaller than the logging interval.*",
    "ignore:'pin_memory' argument is set as true.*",  # SetFit's, on a CPU
]


@pytest.mark.filterwarnings(*of_lightning)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.slow if p.name in LONG else (), id=p.name)
        for p in PAGES
        if p.name not in GENERATED and blocks(p)
    ],
)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "benchmarks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    names: dict = {"__name__": page.stem}
    for language, block in blocks(page):
        if language == "console":
            check_console(block, tmp_path)
        else:
            exec(compile(block, page.name, "exec"), names)


def test_no_block_escapes_by_indentation():
    for page in PAGES:
        assert not re.search(r"^[ >]+```", page.read_text("utf-8"), re.MULTILINE), page.name


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, *OTHERS]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith(("http", SAMPLES)):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"
