import re
from html.parser import HTMLParser

import pytest

from demur.errors import RunError
from demur.report.stress import StressView, write_stress_report
from demur.report.stress._html import method


class Page(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(stress_folder):
    return write_stress_report(stress_folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


@pytest.fixture
def quick(monkeypatch):
    """No pictures, for tests of words."""
    monkeypatch.setattr("demur.report.stress._html.draw_stress_figures", lambda folder: [])


def test_nothing_is_loaded_from_anywhere(source, page):
    addresses = [one[key] for _, one in page.elements for key in ("src", "href") if key in one]
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert "<script" not in source
    assert "@import" not in source


def test_every_picture_has_an_alternative_text(page):
    assert len(page.all("img")) == 8
    assert all(len(one["alt"]) > 20 for one in page.all("img"))


def test_ids_are_unique_and_every_anchor_leads_somewhere(page):
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    assert {one["href"][1:] for one in page.all("a")} <= set(ids)


def test_tables_have_captions_scopes_and_are_reached_by_keyboard(source, page):
    assert source.count("<table") == source.count("<caption>")
    assert all("scope" in one for one in page.all("th"))
    assert all(one.get("tabindex") == "0" for one in page.all("div") if one.get("role") == "region")


def test_dark_screens_have_their_own_colours(source):
    assert "prefers-color-scheme: dark" in source


def test_attacks_that_still_win_stand_first_and_plainly(page):
    place = page.text.index
    assert place("Attacks that win lora on") < place("Attacks that win in part") < place("What was left smol-")


def test_cost_judges_threat_model_and_reproduction_are_there(page):
    for words in (
        "operations",
        "Cohen's kappa",
        "Threat model and limits",
        "demur stress stress.json",
        "abababab",
        "0.81",
        "is not tamper-resistant",
    ):
        assert words in page.text


def test_no_figure_reads_nan_or_none(page):
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_a_folder_without_words_is_still_a_page(make_folder, quick):
    folder = make_folder(models=(("m", 1e8),), seeds=(0,), defended=(False,), attacks=("direct",), is_told=False)
    text = Page(write_stress_report(folder).read_text(encoding="utf-8")).text
    assert "No attack of this run made the model comply with half" in text
    assert "Their agreement was not recorded." in text


def test_a_run_that_has_not_ended_says_so(make_folder, quick):
    folder = make_folder(attacks=("direct",))
    path = folder / "stress.json"
    path.write_text(path.read_text().replace('"done"', '"running"'))
    assert "This run has not ended." in Page(write_stress_report(folder).read_text(encoding="utf-8")).text


def test_hostile_names_are_shown_not_obeyed(make_folder, quick):
    folder = make_folder(models=(("<script>alert(1)</script>", 1e8),), attacks=("direct",))
    source = write_stress_report(folder).read_text(encoding="utf-8")
    assert "<script" not in source
    assert "&lt;script&gt;" in source


def test_the_way_to_do_it_again_is_whole(view):
    found = method(view)
    assert found["version"] == "0.1.0"
    assert [name for name, _ in found["hashes"]] == ["prompts to judge by", "attackers' data"]
    assert '"seeds"' in found["config"]


def test_without_a_configuration_there_is_none_to_show(make_folder):
    assert method(StressView(make_folder(attacks=("direct",), is_told=False)))["config"] is None


def test_a_folder_without_a_grid_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no results/metrics/results_grid.csv"):
        write_stress_report(tmp_path)
