import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from tests.dashboards import HOSTILE

from demur.serve.dashboard import DashboardConfig
from demur.serve.dashboard._page import Asked, Seen, draw_login, draw_page, draw_problem, page_headers
from demur.tasks import PROMPT_RISK, REFUSAL

TASKS = {"refusal": REFUSAL, "prompt_risk": PROMPT_RISK}
VOID = {"meta", "link", "input"}
KNOWN = {
    *(
        "a",
        "article",
        "b",
        "bdi",
        "body",
        "button",
        "caption",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "figcaption",
    ),
    *(
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "head",
        "header",
        "html",
        "input",
        "label",
        "li",
        "link",
    ),
    *("main", "meta", "nav", "ol", "p", "path", "rect", "section", "small", "span", "style", "summary", "svg"),
    *("table", "tbody", "td", "th", "thead", "time", "title", "tr", "ul"),
}


class Reader(HTMLParser):
    """Elements with their attributes, and whether every one was closed where it should be."""

    def __init__(self):
        super().__init__()
        self.found, self.open, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.texts.append(data)


def read(page):
    reader = Reader()
    reader.feed(page.decode())
    reader.close()
    assert reader.open == []
    return reader


def draw(snapshot, local, problem=None, **asked):
    asked = Asked(**({"span": "day"} | asked))
    return draw_page(asked, Seen(local, snapshot, problem, TASKS), DashboardConfig())


def check_harmless(reader):
    """No script, no handler, no style of an element, and no address but the page's own."""
    for tag, attributes in reader.found:
        assert tag in KNOWN, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            assert name not in ("style", "src", "srcset", "formaction"), name
            if name in ("href", "action"):
                assert value.startswith(("/dashboard", "#", "data:image/svg+xml,")), value


def test_the_page_is_well_formed_and_bounded(filled, local):
    page = draw(filled, local)
    check_harmless(read(page))
    assert len(page) < 400_000


def test_headings_go_down_in_order_and_ids_are_unique(filled, local):
    reader = read(draw(filled, local))
    levels = [int(tag[1]) for tag, _ in reader.found if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in reader.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.found:
        if tag == "a" and attributes["href"].startswith("#"):
            assert attributes["href"][1:] in ids
        for one in attributes.get("aria-labelledby", "").split():
            assert one in ids


def test_tables_have_captions_and_pictures_have_words(filled, local):
    page = draw(filled, local).decode()
    assert page.count("<table>") == page.count("<caption")
    for tag, attributes in read(page.encode()).found:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]
        if attributes.get("role") == "region":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]


def test_hostile_texts_are_words_and_nothing_else(hostile, local):
    known = replace(local, problems={one: one for one in HOSTILE}, database=HOSTILE[1])
    page = draw(hostile, known, problem=HOSTILE[0])
    reader = read(page)
    check_harmless(reader)
    text = "".join(reader.texts)
    for one in HOSTILE[:5]:
        assert one in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page.decode())


def test_without_texts_in_the_log_none_is_on_the_page(filled, local):
    bare = replace(filled, flagged=[replace(row, prompt=None, response=None) for row in filled.flagged])
    page = draw(bare, local).decode()
    assert "keep bread fresh" not in page
    assert "Texts are not logged" in page
    shown = draw(filled, replace(local, texts="full")).decode()
    assert "keep bread fresh" in shown


def test_an_empty_store_says_what_to_do(empty, local):
    page = draw(empty, local).decode()
    for words in (
        "Nothing was asked",
        "No task is served",
        "No task is watched yet",
        "No experiment is under way",
    ):
        assert words in page
    for words in ("The registry is empty", "Nothing was retrained yet", "was flagged", "Nothing needs attention"):
        assert words in page
    assert "monitor.enabled" in draw(empty, replace(local, is_monitored=False)).decode()


def test_without_the_database_it_says_so_and_shows_what_is_known(local):
    page = draw(None, local, problem="the database postgresql://guard does not answer").decode()
    read(page.encode())
    assert "There are no figures now" in page
    assert "postgresql://guard" in page
    assert "it goes on answering" in page
    assert "<dd>12</dd>" in page
    assert 'href="#traffic"' not in page


def test_figures_that_are_old_are_called_so(filled, local):
    page = draw(filled, local, problem="it does not answer").decode()
    assert "These figures are older than they could be" in page
    assert "12:00:00 UTC" in page


def test_it_loads_itself_again_only_if_somebody_wants_that(filled, local):
    assert "http-equiv" not in draw(filled, local).decode()
    page = draw(filled, local, refresh_s=60).decode()
    assert '<meta http-equiv="refresh" content="60">' in page
    assert "/dashboard?span=week&amp;refresh=60" in page or "/dashboard?span=week&refresh=60" in page


def test_there_is_a_log_out_only_where_there_is_a_session(filled, local):
    assert "/dashboard/logout" in draw(filled, local).decode()
    assert "/dashboard/logout" not in draw(filled, local, is_browser=False).decode()


def test_a_part_that_cannot_be_read_is_said_so(empty, local):
    page = draw(replace(empty, problems={"drift": "rows of another version"}), local).decode()
    assert "This part cannot be shown in full: rows of another version" in page


def test_the_form_keeps_what_was_asked_for_and_warns_of_open_lines():
    page = draw_login({"span": '"><script>'}, "<b>", is_open=True)
    check_harmless(read(page))
    assert b'<input type="hidden" name="span" value="&#34;&gt;&lt;script&gt;">' in page
    assert b"did not come over TLS" in page
    assert b"TLS" not in draw_login({})


def test_a_page_may_say_why_there_is_no_other():
    page = draw_problem(503, "keys <cannot> be checked")
    check_harmless(read(page))
    assert b"503: keys &lt;cannot&gt; be checked." in page


@pytest.mark.parametrize("page", [draw_login({}), draw_problem(404, "none")], ids=["form", "problem"])
def test_the_style_sheet_is_the_one_that_the_policy_names(page):
    (style,) = re.findall(rb"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    policy = page_headers()["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "http" not in policy
