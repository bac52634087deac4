"""The report in a real browser: pointing at the map, its keys and filters, no scripts, narrow screens, print."""

import shutil

import pytest

import kilat

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright and a Chromium")

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium that starts: {error.message.splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens a page and, when the test ends, makes sure that its scripts and its policy had nothing to complain of."""
    complaints, contexts = [], []

    def open_(path, **settings):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.resolve().as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def report(digits_run):
    return digits_run.report


def map_of(page):
    page.locator("#map .map > svg").scroll_into_view_if_needed()
    return page.locator("#map .map > svg")


def said(page):
    return page.locator("#map .card p").inner_text()


def test_pointing_at_a_picture_shows_it(open_page, report):
    page = open_page(report)
    svg = map_of(page)
    card = page.locator("#map .card")
    assert card.is_hidden()
    point = svg.locator(".points use").first
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert card.is_visible()
    assert "digits[" in said(page)
    pixels = "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; return Math.max(...d) }"
    assert card.locator("canvas").evaluate(pixels) == 255
    page.mouse.move(5, 5)
    assert card.is_hidden()


def test_arrow_keys_go_from_picture_to_picture(open_page, report):
    page = open_page(report)
    map_of(page).focus()
    page.keyboard.press("ArrowRight")
    place = "() => ['cx', 'cy'].map(name => Number(document.querySelector('#map .chosen').getAttribute(name)))"
    start = page.evaluate(place)
    page.keyboard.press("ArrowRight")
    right = page.evaluate(place)
    assert right[0] > start[0]
    page.keyboard.press("ArrowUp")
    assert page.evaluate(place)[1] < right[1]
    width = page.locator("#map .card canvas").bounding_box()["width"]
    page.keyboard.press("Enter")
    assert page.locator("#map .card canvas").bounding_box()["width"] > 1.5 * width
    assert page.locator("#map [aria-live]").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#map .card").is_hidden()


def test_the_map_is_narrowed_to_a_class_and_to_mistakes(open_page, report, digits_run):
    page = open_page(report)
    page.select_option("#map [name=class]", label="3")
    shown = page.locator("#map .points use:not(.off, .off *)").count()
    count = page.locator("#map output").inner_text()
    assert count.startswith(f"{shown} of ")
    page.select_option("#map [name=class]", label="all")
    page.check("#map [name=mistake]")
    mistakes = round(digits_run.metrics.test.n * (1 - digits_run.metrics.test.accuracy))
    assert page.locator("#map output").inner_text().startswith(f"{mistakes} of ")
    page.uncheck("#map [name=mistake]")
    page.check("#map [name=pictures]")
    assert page.locator("#map .pictured").count() > 50


def test_mistakes_are_narrowed_by_their_probability(open_page, report):
    page = open_page(report)
    filters = page.locator("[data-filters=mistake-list]")
    if filters.count():
        all_of_them = page.locator("#mistake-list > *").count()
        filters.locator("[name=probability]").fill("1")
        assert page.locator("#mistake-list > :visible").count() < all_of_them


def test_without_scripts_everything_is_there_to_read(open_page, report):
    page = open_page(report, java_script_enabled=False)
    assert page.locator("#map .map > svg").is_visible()
    assert page.locator("#map .names text").first.is_visible()
    assert page.locator(".filters:visible, .hint:visible, .card:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone_nothing_is_wider_than_the_screen(open_page, report, scheme):
    page = open_page(report, viewport={"width": 390, "height": 800}, color_scheme=scheme, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    svg = map_of(page)
    point = svg.locator(".points use").nth(40).bounding_box()
    page.touchscreen.tap(point["x"] + 2, point["y"] + 2)
    box = page.locator("#map .card").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["y"] + box["height"] <= 800


def test_in_print_there_is_nothing_to_operate(open_page, report):
    page = open_page(report)
    map_of(page).focus()
    page.keyboard.press("ArrowRight")
    page.emulate_media(media="print")
    assert page.locator("#map .map > svg").is_visible()
    assert page.locator("nav:visible, .filters:visible, .card:visible, .hint:visible").count() == 0


def test_disputed_pictures_are_narrowed_to_those_that_one_run_has_right(open_page, digits_run, tmp_path):
    from kilat.report import compare_page

    other = kilat.train("digits", runs=tmp_path, **{"head.components": 6, "features.small_network": "none"})
    page_file = tmp_path / "comparison.html"
    page_file.write_text(compare_page.render(kilat.compare(digits_run, other)), "utf-8")
    page = open_page(page_file)
    disputed = page.locator("#disputed > article")
    assert disputed.count() > 0
    if page.locator("[data-filters=disputed]").count():
        page.select_option("[data-filters=disputed] [name=right]", index=1)
        assert 0 < page.locator("#disputed > article:visible").count() < disputed.count()
