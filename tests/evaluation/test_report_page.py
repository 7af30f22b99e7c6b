"""The report in a browser: headless Chromium opens it, sorts it, and looks at its pictures."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from dimp_jax.evaluation import inputs, results
from dimp_jax.evaluation.report import __main__ as command
from dimp_jax.evaluation.report import strips
from tests.support import chromium
from tests.support.report_results import NAMES, ODD, make_data, make_results, with_attributes

TRACEBACK = 'Traceback:\n  File "x.py"\nValueError: <script>document.title = "broken"</script>\n'
SORTED = "table.sortable"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of three trackers; one fails in the last of three sequences."""
    place = tmp_path_factory.mktemp("report")
    data = make_data(place / "data")
    make_results(place / "steady", data, shift_px=1.0, decode_s=0.004, depth=1)
    make_results(place / "steady", data, shift_px=1.5, decode_s=0.004, run=1, depth=1)
    make_results(place / "drifting <b>", data, shift_px=4.0, depth=2)
    make_results(place / "failing", data, names=NAMES[:2], depth=2)
    results.write_error(place / "failing", "d", TRACEBACK)
    given = [str(place / name) for name in ("steady", "drifting <b>", "failing")]
    load = inputs.reload
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "reload", lambda out: with_attributes(load(out)))
        assert command.main([*given, "--out", str(place / "report.html"), "--clips", "1"]) == 0
    return place / "report.html"


@pytest.fixture(scope="module")
def browser(page):
    """Chromium with the page open, and notes of all that it said and asked for."""
    with chromium.opened(browser="ALL", performance="ALL") as opened:
        opened.get(page.as_uri())
        yield opened


def column(browser, index):
    """The text of one column of the sortable table."""
    script = (
        f"return [...document.querySelector('{SORTED}').tBodies[0].rows]"
        f".map(row => row.cells[{index}].textContent)"
    )
    return browser.execute_script(script)


def heading(browser, index):
    return browser.find_elements(By.CSS_SELECTOR, f"{SORTED} thead th")[index]


def test_nothing_is_reported_and_nothing_is_asked_for(browser, page):
    assert browser.get_log("browser") == []
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = [m["params"]["request"]["url"] for m in sent]
    assert page.as_uri() in asked
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    title = browser.title
    assert title == "data: steady, drifting <b>, failing"


def test_a_click_sorts_by_number_up_then_down(browser):
    assert column(browser, 0) == list(NAMES[:2])
    values = [float(text) for text in column(browser, 3)]
    assert values[0] > values[1]
    heading(browser, 3).find_element(By.TAG_NAME, "button").click()
    assert heading(browser, 3).get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(browser, 3)] == sorted(values)
    assert column(browser, 0) == [ODD, NAMES[0]]
    heading(browser, 3).find_element(By.TAG_NAME, "button").click()
    assert heading(browser, 3).get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(browser, 3)] == sorted(values, reverse=True)
    heading(browser, 0).find_element(By.TAG_NAME, "button").send_keys("\n")  # by the keyboard
    assert column(browser, 0) == list(NAMES[:2])
    assert heading(browser, 3).get_attribute("aria-sort") == "none"


def test_numbers_sort_by_size_not_by_digits(browser):
    script = (
        f"const rows = document.querySelector('{SORTED}').tBodies[0].rows;"
        "rows[0].cells[1].textContent = '90'; rows[1].cells[1].textContent = '160';"
    )
    browser.execute_script(script)
    heading(browser, 1).find_element(By.TAG_NAME, "button").click()
    assert column(browser, 1) == ["90", "160"]
    heading(browser, 1).find_element(By.TAG_NAME, "button").click()
    assert column(browser, 1) == ["160", "90"]


def test_another_metric_can_be_chosen(browser):
    before = column(browser, 3)
    choice = Select(browser.find_element(By.CSS_SELECTOR, "select[data-table]"))
    choice.select_by_index(1)
    assert column(browser, 3) == ["1.000", "1.000"] != before  # all within 20 px
    choice.select_by_index(0)
    assert column(browser, 3) == before


def test_pictures_are_loaded(browser):
    widths = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert widths == [strips.TILE_WH[0]] * (2 * strips.FRAMES)
    plots = browser.find_elements(By.CSS_SELECTOR, ".plots svg")
    assert len(plots) == 3 and all(plot.size["height"] > 200 for plot in plots)


def test_attributes_failures_and_runs_are_shown(browser):
    text = browser.find_element(By.TAG_NAME, "body").text
    attributes = browser.find_element(By.ID, "attributes").text
    assert "blur 2" in attributes and "<b>dark 1" in attributes
    assert "drifting <b>" in browser.find_element(By.ID, "ranking").text
    assert "2 of 3" in text and "d: not finished by failing" in text
    failure = browser.find_element(By.CSS_SELECTOR, "#left-out pre").text
    assert failure == TRACEBACK.strip()
    ranking = browser.find_element(By.ID, "ranking").text
    assert "±" in ranking and "[" in ranking  # spread over two runs, intervals over sequences
    assert "4.0" in browser.find_element(By.ID, "timing").text  # decoding, ms
    assert "depth" in browser.find_element(By.ID, "settings").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        paper = "return getComputedStyle(document.body).backgroundColor"
        shade = browser.execute_script(paper)
        assert (shade == "rgb(255, 255, 255)") == (scheme == "light")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
