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


# Texts of pictures that leave their picture, or that lie on another one of their axis or legend;
# and texts of the page that leave their box, where nothing scrolls.
CUT = """
    const box = (one) => one.getBoundingClientRect(), found = [];
    const inside = (a, b) => a.left >= b.left - 2 && a.right <= b.right + 2
        && a.top >= b.top - 2 && a.bottom <= b.bottom + 2;
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    for (const image of document.querySelectorAll('.chart svg')) {
        const texts = [...image.querySelectorAll('text')].filter(
            (one) => one.textContent && getComputedStyle(one).opacity !== '0' && box(one).width);
        for (const one of texts) if (!inside(box(one), box(image))) found.push(one.textContent);
        for (const group of image.querySelectorAll('.role-axis-label, .role-legend')) {
            const own = texts.filter((one) => group.contains(one));
            own.forEach((one, n) => own.slice(n + 1).forEach((other) => {
                if (meet(box(one), box(other))) found.push(one.textContent + other.textContent);
            }));
        }
    }
    for (const one of document.querySelectorAll('main *')) {
        if (one.closest('.scroll, pre, svg, details:not([open])') || !one.clientWidth) continue;
        if (one.scrollWidth > one.clientWidth + 1) found.push(one.textContent);
    }
    return found
"""
# Texts with less than 4.5 to 1 (WCAG 2.2, 1.4.3) against what lies behind them.
FAINT = """
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => {
            const v = Number(part) / 255;
            return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!/^rgba.*, 0\\)$/.test(colour)) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        const text = one.matches('.chart text') && !one.closest('.role-mark');
        if (!own || (one.closest('svg') && !text) || one.closest('script, style')) continue;
        const style = getComputedStyle(one);
        const [a, b] = [light(text ? style.fill : style.color), light(behind(one))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push([ratio, one.textContent.slice(0, 40)]);
    }
    return found
"""


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
    assert browser.execute_script(CUT) == []


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(browser, pages, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        opened(browser, pages / "en.html", 1200)
        assert browser.execute_script(FAINT) == []
        paper = "return getComputedStyle(document.body).backgroundColor"
        assert (browser.execute_script(paper) == "rgb(255, 255, 255)") == (scheme == "light")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_row_is_reached_by_keys_and_a_table_is_searched(browser, pages):
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages / "hostile.html", 1200)
    chart = browser.find_element("id", "chart-picture-0-0")
    chart.send_keys(Keys.HOME)
    panel = "return document.querySelector('#picture .picked').innerText"
    first = browser.execute_script(panel)
    chart.send_keys(Keys.ARROW_RIGHT)
    assert "<script>" in first
    assert browser.execute_script(panel) not in ("", first)
    browser.execute_script("document.querySelector('#near details').open = true")
    rows = "return document.querySelectorAll('#near tbody tr:not(.other, .later)').length"
    assert browser.execute_script(rows) == 20
    browser.find_element("css selector", "#near input").send_keys("no such row")
    assert browser.execute_script(rows) == 0
    assert browser.title != "run"


def test_it_prints_on_few_pages(browser, pages):
    opened(browser, pages / "ja.html", 1200)
    answer = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(answer["data"])
    assert pdf[:4] == b"%PDF"
    assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 8
