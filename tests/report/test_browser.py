"""The page in a real browser: everything is drawn, nothing is loaded, nothing of a user's runs."""

import base64
import shutil
import time
from dataclasses import replace

import pytest

from uncollapse import ReportOptions, build_report
from uncollapse.tables import Columns

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver is installed"
    ),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(runs, hostile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    two = build_report(runs)
    for code in ("en", "ja"):
        (folder / f"{code}.html").write_text(replace(two, language=code).to_html(), "utf-8")
    options = ReportOptions(columns=Columns(fine="digit", slices=("site",)), sample=200)
    (folder / "hostile.html").write_text(
        build_report([hostile], options=options).to_html(), "utf-8"
    )
    return folder


def opened(browser, page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    for _ in range(200):
        ready = browser.execute_script("return document.documentElement.dataset.ready")
        if ready is not None:
            break
        time.sleep(0.1)
    return int(ready or 0)


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["en", "ja", "hostile"])
def test_all_is_drawn_without_a_word_on_the_console(browser, pages, name, width):
    drawn = opened(browser, pages / f"{name}.html", width)
    charts = browser.execute_script("return document.querySelectorAll('[data-chart]').length")
    assert drawn == charts > 3
    assert browser.get_log("browser") == []
    script = """
        const wide = document.documentElement.scrollWidth;
        const loaded = performance.getEntriesByType('resource').map(one => one.name);
        const named = [...document.querySelectorAll('.chart svg')]
            .filter(one => one.getAttribute('aria-label')).length;
        const bare = [...document.querySelectorAll('.chart')]
            .filter(one => one.querySelector('svg').getBoundingClientRect().width < 200).length;
        return [wide, loaded, named, bare, document.title]
    """
    wide, loaded, named, bare, title = browser.execute_script(script)
    assert wide <= width
    assert [one for one in loaded if not one.startswith("data:")] == []
    assert named == charts
    assert bare == 0
    assert title != "run"


def test_hovering_shows_the_sample_as_text(browser, pages):
    from selenium.webdriver import ActionChains

    opened(browser, pages / "hostile.html", 1200)
    script = "return document.querySelector('#chart-picture-0-0 .mark-symbol.role-mark path')"
    point = browser.execute_script(script)
    into = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    browser.execute_script(into, point)
    shown = "return document.getElementById('vg-tooltip-element')?.innerText"
    tip = None
    for _ in range(50):
        ActionChains(browser).move_by_offset(1, 1).move_to_element(point).perform()
        if (tip := browser.execute_script(shown)) is not None:
            break
        time.sleep(0.1)
    assert "sample" in tip
    assert "<script>" in tip
    assert browser.title != "run"


def test_it_prints_on_few_pages(browser, pages):
    opened(browser, pages / "ja.html", 1200)
    answer = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(answer["data"])
    assert pdf[:4] == b"%PDF"
    assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 20
