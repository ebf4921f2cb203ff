"""The explorer in a real browser: its numbers are predict's, its sliders work, it fits."""

import itertools
import json
import shutil
import subprocess
import sys

import pytest

from uncollapse.records import BalancedBatch, FullBatch
from uncollapse.report.explorer import explorer_page
from uncollapse.theory import Setting, advise, predict

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no browser here"
)
NUMBERS = (
    "instance_variance", "view_variance", "within_class_variance", "between_class_variance",
    "alpha_threshold", "temperature_threshold", "view_splitting_threshold",
)  # fmt: skip
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


def load(browser, folder, lang="en", width=1200):
    path = folder / f"{lang}.html"
    path.write_text(explorer_page(lang), encoding="utf-8")
    browser.set_window_size(width, 900)
    browser.get(path.as_uri())
    return browser


def settings():
    sizes = [(2, 2), (3, 7), (10, 50), (1000, 1300), (10000, 100000)]
    alphas = [0, 1e-4, 0.01, 0.2, 0.9, 1]
    for (m, n), p, alpha, tau, pairs in itertools.product(
        sizes, (1, 2, 16), alphas, (0.001, 0.01, 0.1, 0.7, 10, 1000), ("exclude", "include")
    ):
        if p == 1 and pairs == "exclude" and alpha > 0:
            continue
        for batch in (None, (2, 2), (n, m), (max(2, n // 3), max(2, m // 2))):
            yield {
                "classes": m, "perClass": n, "views": p, "alpha": alpha, "temperature": tau,
                "selfPairs": pairs, "reduction": "pairs" if m == 3 else "anchors",
                "batch": "balanced" if batch else "full",
                "batchPerClass": batch[0] if batch else 2, "batchClasses": batch[1] if batch else 2,
            }  # fmt: skip
    for pairs in ("exclude", "include"):
        yield {
            "classes": 4, "perClass": 5, "views": 2, "alpha": 1, "temperature": 0.3,
            "selfPairs": pairs, "reduction": "anchors",
            "batch": "balanced", "batchPerClass": 1, "batchClasses": 3,
        }  # fmt: skip


def predicted(s):
    batch = FullBatch()
    if s["batch"] == "balanced":
        batch = BalancedBatch(s["batchPerClass"], s["batchClasses"])
    return predict(
        Setting(
            classes=s["classes"],
            per_class=s["perClass"],
            views=s["views"],
            alpha=s["alpha"],
            temperature=s["temperature"],
            self_pairs=s["selfPairs"],
            reduction=s["reduction"],
            batch=batch,
        ),
        ranges=False,
    )


def test_its_numbers_are_those_of_predict(browser, folder):
    load(browser, folder)
    every = list(settings())
    found = browser.execute_script("return arguments[0].map(s => THEORY.predict(s))", every)
    assert len(every) > 1000
    for setting, mine in zip(every, found, strict=True):
        wanted = predicted(setting)
        assert mine["phase"] == wanted.phase, setting
        for name in NUMBERS:
            value = getattr(wanted, name)
            expected = None if value is None else pytest.approx(value, rel=1e-6, abs=1e-12)
            assert mine[name] == expected, (name, setting)


def shown(browser):
    return browser.execute_script(
        "return Object.fromEntries(['instance','view','between_class','alpha_threshold']"
        ".map(n => [n, Number(document.getElementById(n).dataset.value)])"
        ".concat([['phase', document.getElementById('phase').dataset.phase]]))"
    )


def test_sliders_and_choices_redraw_what_is_shown(browser, folder):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    load(browser, folder)
    picture = "return document.getElementById('heat').toDataURL()"
    seen = [(shown(browser), browser.execute_script(picture))]
    for name in ("alpha", "temperature", "classes", "perClass", "views"):
        slider = browser.find_element(By.ID, f"{name}-slider")
        before = browser.execute_script("return {...state}")[name]
        for _ in range(80 if name == "views" else 20):
            slider.send_keys(Keys.ARROW_LEFT if name == "views" else Keys.ARROW_RIGHT)
        state = browser.execute_script("return {...state}")
        assert state[name] != before
        if name == "views":
            assert browser.find_element(By.ID, "problem").text
            browser.execute_script("set({views: 4})")
        state = browser.execute_script("return {...state}")
        wanted, now = predicted(state), shown(browser)
        assert now["instance"] == pytest.approx(wanted.instance_variance, rel=1e-6)
        assert now["alpha_threshold"] == pytest.approx(wanted.alpha_threshold, rel=1e-6)
        assert now != seen[-1][0]
        seen.append((now, browser.execute_script(picture)))
    assert seen[1][1] == seen[2][1] != seen[3][1]  # the diagram does not hang on alpha and tau
    Select(browser.find_element(By.ID, "batch")).select_by_value("balanced")
    assert browser.find_element(By.ID, "batchPerClass").is_displayed()
    Select(browser.find_element(By.ID, "selfPairs")).select_by_value("include")
    number = browser.find_element(By.ID, "alpha")
    number.send_keys(Keys.CONTROL, "a", Keys.NULL, "0", Keys.TAB)
    assert shown(browser)["phase"] == "collapse"
    browser.find_element(By.ID, "diagram").click()
    assert browser.execute_script("return state.alpha") > 0


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("width", [1200, 500])
def test_it_fits_is_named_and_logs_nothing(browser, folder, lang, width):
    load(browser, folder, lang, width)
    wide = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(wide)
    nameless = (
        "return [...document.querySelectorAll('input,select')].filter("
        "e => !e.labels.length && !e.ariaLabel).length"
    )
    assert browser.execute_script(nameless) == 0
    assert "undefined" not in browser.find_element("tag name", "body").text
    assert "{{" not in browser.page_source
    assert [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    browser.save_screenshot(str(folder / f"{lang}-{width}.png"))


def test_the_command_writes_it(tmp_path):
    path = tmp_path / "e.html"
    call = [sys.executable, "-m", "uncollapse", "explore", "-o", str(path), "--json"]
    answer = subprocess.run(call, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["output"] == str(path)
    assert path.stat().st_size < 100_000
    bad = subprocess.run([*call[:4], "-o", str(tmp_path)], capture_output=True, text=True)
    assert bad.returncode == 2


def advised(s):
    batch = FullBatch()
    if s["batch"] == "balanced":
        batch = BalancedBatch(s["batchPerClass"], s["batchClasses"])
    sizes = {"classes": s["classes"], "per_class": s["perClass"], "views": s["views"]}
    dials = {"alpha": s["alpha"], "temperature": s["temperature"], "self_pairs": s["selfPairs"]}
    return advise(Setting(**sizes, **dials, reduction=s["reduction"], batch=batch))


LEVERS = {"batchPerClass": "batch_per_class", "batchClasses": "batch_classes"}


def test_the_smallest_changes_are_those_of_advise(browser, folder):
    load(browser, folder)
    dials = itertools.product((0.0, 0.01), (0.05, 0.1, 1.0), ("exclude", "include"), (None, 5))
    for alpha, tau, pairs, inside in dials:
        start = browser.execute_script("return {...state}") | {
            "alpha": alpha, "temperature": tau, "selfPairs": pairs,
            "batch": "balanced" if inside else "full", "batchPerClass": inside or 2,
        }  # fmt: skip
        mine = browser.execute_script("return ADVICE.advise(arguments[0])", start)
        wanted = advised(start)
        names = [LEVERS.get(change["lever"], change["lever"]) for change in mine]
        assert names == [advice.lever for advice in wanted], start
        for change, advice in zip(mine, wanted, strict=True):
            assert change["changed"][change["lever"]] == pytest.approx(advice.value, rel=1e-4)


def test_a_setting_goes_by_a_link_and_by_the_clipboard(browser, folder):
    from selenium.webdriver.common.by import By

    load(browser, folder)
    browser.execute_script("set({classes: 7, alpha: 0, batch: 'balanced', selfPairs: 'include'})")
    assert "every temperature" in browser.find_element(By.ID, "always").text
    link = browser.find_element(By.ID, "link").get_attribute("href")
    wanted = browser.execute_script("return {...state}")
    browser.get("about:blank")
    browser.get(link)
    assert browser.execute_script("return {...state}") == wanted
    browser.get("about:blank")
    browser.get(link.split("#")[0] + "#alpha=7&classes=no&batch=none&x=<b>&temperature=0.3")
    state = browser.execute_script("return {...state}")
    assert (state["alpha"], state["classes"], state["batch"], state["temperature"]) == (
        1, 10, "full", 0.3,
    )  # fmt: skip
    browser.execute_script(
        "window.got = []; navigator.clipboard.writeText = async (text) => { got.push(text); }"
    )
    for button in ("copy-command", "copy-link"):
        browser.find_element(By.ID, button).click()
    command, address = browser.execute_script("return got")
    assert command.startswith("uncollapse predict --classes 10 ")
    assert "--temperature 0.3" in command
    assert address == browser.find_element(By.ID, "link").get_attribute("href")
    browser.execute_script("set({alpha: 0})")
    before = shown(browser)["instance"]
    browser.find_element(By.CSS_SELECTOR, "#changes button").click()
    assert before == 0
    assert shown(browser)["instance"] == pytest.approx(0.01, abs=1e-5)
