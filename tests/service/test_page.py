"""The page, in a real browser; skipped where there is none."""

import re
import shutil

import pytest

from utils.service.launcher import our_service

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with our_service(exported, tmp_path_factory.mktemp("page") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def browser(service):
    api = pytest.importorskip("playwright.sync_api", reason="make test-all installs it")
    with api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(browser, service):
    """A page that allows no request to anywhere else, and no error of its own in its console."""
    page = browser.new_page()
    problems = []
    refused = "Failed to load resource"  # the browser's own line on each refusal
    page.on("console", lambda line: line.type == "error"
            and not line.text.startswith(refused) and problems.append(line.text))  # fmt: skip
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: sent.url.startswith((service.url, "blob:", "data:"))
            or problems.append(sent.url))  # fmt: skip
    page.goto(service.url)
    yield page
    page.close()
    assert problems == []


def test_a_typed_review_is_read(page):
    page.get_by_label("Your review").fill("A great film, but a dull end.")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Analyse").press("Enter")
    page.wait_for_selector("#result:visible")
    assert page.inner_text("#label") in ("Positive", "Negative")
    assert page.inner_text("#score").startswith("probability ")
    assert page.inner_text("#words").split() == ["A", "great", "film,", "but", "a", "dull", "end."]
    assert re.fullmatch(r"\d+\.\d%", page.inner_text("#missed"))


def test_an_example_is_one_click_away(page):
    page.get_by_role("button", name="a pan").click()
    page.wait_for_selector("#result:visible")
    assert page.input_value("#review").startswith("Two hours")


def test_a_csv_comes_back_labelled_with_its_rows_and_columns(page, tmp_path):
    source = tmp_path / "mine.csv"
    source.write_text('id,text\n1,"great, ""moving""\nfilm"\n2,\n3,dull\n4,<br />\n', "utf-8")
    page.set_input_files("#file", source)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download mine-labelled.csv").click()
    lines = download.value.path().read_text("utf-8").replace("\r\n", "\n")
    assert lines.startswith('id,text,predicted_label,score,truncated\n1,"great, ""moving""\nfilm",')
    assert lines.split("\n")[2].endswith(",False")  # as scripts/model-inference.py spells it
    assert "\n2,,,,\n3,dull," in lines
    assert lines.endswith("\n4,<br />,,,\n")
    assert page.inner_text("#file-state").startswith("4 rows, 2 without")


def test_one_unreadable_cell_costs_no_other_row_its_label(page, tmp_path):
    """The service calls a text that shows nothing empty, and refuses its whole request."""
    source = tmp_path / "mine.csv"
    source.write_bytes('\ufefftext\ngreat\n\x1c\n""\n\n\u200b\u200d\ndull\n'.encode())
    page.set_input_files("#file", source)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download mine-labelled.csv").click()
    lines = download.value.path().read_bytes().decode().split("\r\n")
    assert lines[0] == "\ufefftext,predicted_label,score,truncated"
    assert [line.count(",,,") for line in lines[1:-1]] == [0, 1, 1, 1, 0]
    assert page.inner_text("#file-state").startswith("5 rows, 3 without")


def test_a_key_that_no_browser_can_send_is_a_wrong_one(page):
    page.evaluate("key = 'ключ'")
    page.get_by_role("button", name="praise").click()
    page.wait_for_selector("#problem:visible")
    assert page.inner_text("#problem") == "That key is not the right one."
    assert page.is_visible("#key")


def test_an_earlier_answer_does_not_replace_a_later_one(page):
    held = []
    page.route("**/explain", lambda route: held.append(route))
    page.get_by_role("button", name="praise").click()
    page.get_by_role("button", name="a pan").click()
    page.wait_for_timeout(200)
    assert len(held) == 2
    for route in reversed(held):  # the later one is answered first
        with page.expect_response("**/explain"):
            route.continue_()
    page.wait_for_timeout(500)
    assert page.inner_text("#words").startswith("Two hours")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"id,name\n1,a\n", "No column text or review, but: id, name"),
        (b"id;text\n1;a\n", "No column text or review, but: id;text. Is it separated by ';'? Save"),
        (b"\xef\xbb\xbfid|text\n1|a\n", "separated by '|'? Save it with commas."),
        (b"id\ttext\n1\ta\n", "separated by tabs? Save it with commas."),
        (b'"id";"text"\n"1";"a"\n', "row 1. Is it separated by ';'? Save it with commas."),
        (b"text\n\xff\xfe\n", "not UTF-8"),
        (b'text\n"open\n', "broken near character 5, row 2"),
        (b"text,score\na,1\n", "has a column score"),
        (b"text,text\na,b\n", "two columns text"),
        (b"id,text\n1,great, moving\n", "Row 1 has 3 fields, and the header 2"),
    ],
)
def test_a_bad_csv_is_refused_with_its_reason(page, tmp_path, content, problem):
    source = tmp_path / "mine.csv"
    source.write_bytes(content)
    page.set_input_files("#file", source)
    page.wait_for_selector("#problem:visible")
    assert problem in page.inner_text("#problem")


def test_it_works_below_a_prefix(page, service, tmp_path):
    """As behind a notebook server's proxy, which takes the prefix away again."""
    prefix = f"{service.url}/user/me/proxy/8000"
    page.route(lambda url: url.startswith(service.url), lambda route: route.fulfill(
        response=route.fetch(url=route.request.url.replace(prefix, service.url)))
        if route.request.url.startswith(prefix) else route.abort())  # fmt: skip
    page.goto(f"{prefix}/")
    page.wait_for_selector("#about:has-text('model ')")
    page.get_by_role("button", name="a pan").click()
    page.wait_for_selector("#result:visible")
    source = tmp_path / "mine.csv"
    source.write_text("text\ngreat\n", "utf-8")
    page.set_input_files("#file", source)
    page.wait_for_selector("#file-state:has-text('1 rows. Download')")
    assert page.get_by_role("link", name="The API").evaluate("link => link.href") == (
        f"{prefix}/openapi.json"
    )


def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 320, "height": 640})
    page.get_by_label("Your review").fill("great " * 40 + "x" * 200)
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_selector("#result:visible")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
