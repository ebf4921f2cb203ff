"""The documentation as a whole: the command line's page is the commands' own, the site builds."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    answer = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return folder


def test_the_site_builds_without_a_warning_and_fetches_nothing(site):
    built = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    pages = {f"docs/{page.stem}.html" for page in (ROOT / "docs").glob("*.md")}
    pages = pages - {"docs/index.html"} | {"index.html", "overview.html"}
    assert built >= pages | {"CHANGELOG.html", "configs/index.html"}
    for name, language in itertools.product(("embeddings", "pilot", "explorer"), ("en", "ja")):
        assert f"docs/samples/{name}.{language}.html" in built
    assert "<mfrac>" in (site / "docs" / "theory.html").read_text("utf-8")
    assert (site / "search" / "search_index.js").exists()
    for name in ("site.css", "iframe-worker.js"):
        assert (site / "docs" / "theme" / name).exists()
    assert (site / "configs" / "digits.yaml").exists()
    for page in built:
        assert not FETCHED.search((site / page).read_text("utf-8")), page


def test_every_picture_says_what_it_shows_and_stands_in_the_gallery():
    gallery = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for text, target in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text("utf-8")):
            assert len(text) > 100, (page.name, target)
            assert f"figures/{Path(target).name}" in gallery
            assert f"docs/figures/{Path(target).stem}.py" in gallery


TASKS = "measure retention probes stores report training-loops pilot simulate theory networks loss"


def test_every_task_says_what_it_costs_before_its_first_section():
    for name in [*TASKS.split(), "robustness", "training"]:
        page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
        head = page.split("\n## ")[0]
        assert re.search(r"^> \| cost \| rows \| time \| memory \|$", head, re.MULTILINE), name


# What is wider than its place: there a table, a line of code or a formula is cut off.
WIDE = """
    const parts = 'pre, pre > code, .md-typeset__scrollwrap, math';
    return [...document.querySelectorAll(parts), document.documentElement]
        .filter(one => one.scrollWidth > one.clientWidth + 1)
        .map(one => one.textContent.trim().slice(0, 60));
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no browser here"
)
def test_nothing_is_cut_at_1280_and_the_search_works_from_a_folder(site, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}")
    for flag in (*flags, "--disable-background-networking", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.set_window_size(1280, 900)
        pages = [site / "index.html", site / "overview.html", *(site / "docs").glob("*.html")]
        for page in pages:
            browser.get(page.as_uri())
            assert browser.execute_script(WIDE) == [], page.name
        field = browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]")
        field.click()
        field.send_keys("whitening")
        found: list[object] = []
        for _ in range(100):
            found = found or browser.find_elements(By.CSS_SELECTOR, ".md-search-result__item a")
            time.sleep(0 if found else 0.2)
        assert found
