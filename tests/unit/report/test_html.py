import base64
import html.parser
import re
import shutil
from itertools import pairwise

import pytest

from demur.errors import RunError
from demur.report import RunView, draw_figures, write_report
from demur.report.figures import Picture, read_pictures

VOID = {"meta", "img", "wbr", "col", "br"}
HOSTILE = "<script>alert(1)</script>\"'&"


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def source(run_folder, drawn):
    return write_report(run_folder, drawn).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def render(folder):
    """The page of a run without pictures, which are slow and not at issue."""
    return Page(write_report(folder, pictures=[]).read_text(encoding="utf-8"))


def test_the_page_lies_in_the_run_folder(run_folder, drawn):
    assert write_report(run_folder, drawn) == run_folder / "report.html"


def test_nothing_is_loaded_from_anywhere(page, source):
    links = [attrs[key] for _, attrs in page.tags for key in ("src", "href", "srcset", "action") if key in attrs]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"@import|url\(|https?://", source)


def test_no_element_carries_a_handler(page):
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_the_page_stays_below_six_megabytes(source):
    assert len(source.encode()) < 6e6


def test_every_picture_is_inlined_whole_with_an_alternative_text(page, drawn):
    images = page.all("img")
    assert len(images) == len(drawn)
    for image, picture in zip(images, drawn, strict=True):
        assert base64.b64decode(image["src"].partition(",")[2]) == picture.path.read_bytes()
        assert len(image["alt"]) > 40
        assert int(image["width"]) > 300 < int(image["height"]) * 3


def test_every_anchor_leads_somewhere(page):
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"].removeprefix("#") for attrs in page.all("a")} <= targets


def test_ids_are_unique(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_headings_start_at_one_and_skip_no_level(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_every_head_a_scope(page):
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in attrs for attrs in page.all("th"))


def test_the_language_and_the_phone_width_are_declared(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))


def test_dark_screens_phones_and_paper_have_their_own_style(source):
    for rule in ("prefers-color-scheme: dark", "max-width: 40rem", "@media print"):
        assert rule in source


@pytest.mark.parametrize("name", ["refusal", "jailbreak", "prompt_risk"])
def test_the_winner_of_each_task_stands_with_score_interval_rows_and_reason(page, run, name):
    winner = run.task(name).winner
    score = winner.metric("custom_score")
    assert f"{score.value:.3f} {score.low:.3f} to {score.high:.3f}" in page.words
    assert f"★ {winner.name}" in page.words
    assert "Highest security score" in page.words
    assert "Figures on the test split: 150 rows in" in page.words


def test_a_failed_model_is_a_row_with_its_reason(page):
    assert page.words.count("failed: ValueError: loss is not finite in step 12; lower the learning rate") == 3


def test_a_missed_threshold_is_named(page):
    assert "misses: precision_c1 0.41 is below 0.5" in page.words


def test_figures_that_are_missing_are_dashes_never_zero_or_nan(page):
    cells = re.findall(r"Macro-F1, blind set\s*([\d.]+|\S)", page.words)
    assert cells[2] == "—"
    assert not re.search(r"\b(nan|None|null|inf)\b", page.words)


def test_what_cannot_be_claimed_is_said_for_each_task(page):
    assert page.words.count("What this cannot claim") == 3
    assert page.words.count("The labels are taken as given") == 3


def test_each_table_of_figures_names_its_cohort(page):
    assert page.words.count("League: test split, n = 150 rows in") == 3
    assert page.words.count("Validation splitn = 150, used to choose") == 3


def test_methods_hashes_versions_and_seed_are_there(page):
    for text in ("seed 7", "40 bootstrap draws", "refusal: blind set", "ef" * 32, "numpy", "2.1.0", '"draws": 40'):
        assert text in page.words


def test_the_surest_errors_are_named_by_id(page, run):
    task = run.task("refusal")
    rows = run.predictions("refusal", task.winner.name, "test")
    wrong = int((rows.called != rows.y).sum())
    assert f"{task.winner.name} calls {wrong} of 150 rows of the test split wrongly" in page.words


def test_hostile_names_are_shown_not_obeyed(small_run, edit):
    def rename(results):
        task = results["tasks"]["jailbreak"]
        task["why"] = task["warnings"][0:1] = HOSTILE
        results["name"] = HOSTILE
        for model in task["models"]:
            model |= {"family": HOSTILE, "failed_thresholds": [HOSTILE], "best_params": {HOSTILE: HOSTILE}}
            if model["status"] == "failed":
                model |= {"model": HOSTILE, "reason": HOSTILE}

    page = render(edit(small_run, rename))
    assert not page.all("script")
    assert page.words.count("<script>alert(1)</script>") > 10


def test_no_javascript_link_comes_of_a_hostile_name(small_run, edit):
    page = render(edit(small_run, lambda results: results.update(name="javascript:alert(1)")))
    assert all(attrs["href"].startswith("#") for attrs in page.all("a"))


def test_a_task_without_winner_says_why(small_run, edit):
    def lose(results):
        results["tasks"]["jailbreak"] |= {"winner": None, "why": "no model passes every threshold"}

    page = render(edit(small_run, lose))
    assert "No winner No model passes every threshold." in page.words


def test_a_run_in_which_every_model_failed_is_still_a_page(small_run, edit):
    def fail(results):
        task = results["tasks"]["jailbreak"]
        task |= {"winner": None, "why": ""}
        for model in task["models"]:
            model |= {"status": "failed", "reason": "out of memory", "evaluations": {}}

    edit(small_run, fail)
    assert draw_figures(small_run) == []
    page = Page(write_report(small_run).read_text(encoding="utf-8"))
    assert page.words.count("failed: out of memory") == 6


@pytest.mark.parametrize("part", ["run.json", "predictions"])
def test_a_missing_part_leaves_its_sections_out(small_run, part):
    path = small_run / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = render(small_run)
    assert "League: test split" in page.words
    assert ("Where it is wrong and sure" in page.words) == (part == "run.json")


def test_a_damaged_file_is_named_on_the_page(small_run):
    winner = RunView(small_run).tasks[0].winner.name
    (small_run / f"predictions/jailbreak/{winner}/test.parquet").write_bytes(b"no parquet")
    assert f"predictions/jailbreak/{winner}/test.parquet could not be read" in render(small_run).words


def test_a_run_without_tasks_is_still_a_page(small_run, edit):
    assert "The run holds no task." in render(edit(small_run, lambda results: results.update(tasks={}))).words


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no experiment_results.json"):
        write_report(tmp_path)


def test_pictures_drawn_before_are_used_again(small_run, monkeypatch):
    drawn = draw_figures(small_run)
    monkeypatch.setattr("demur.report._html.draw_figures", lambda folder: pytest.fail("drawn anew"))
    assert write_report(small_run).stat().st_size > sum(picture.path.stat().st_size for picture in drawn)


def test_pictures_of_other_results_are_drawn_anew(small_run, edit, monkeypatch):
    drawn = []
    monkeypatch.setattr("demur.report._html.draw_figures", lambda folder: drawn.append(folder) or [])
    edit(small_run, lambda results: results.update(name="other"))
    write_report(small_run)
    assert drawn == [small_run]
    assert read_pictures(small_run) is None


def test_a_picture_that_is_gone_is_left_out(small_run):
    gone = Picture("x", small_run / "images/x.png", "t", "c", "a", "jailbreak", "x")
    assert not Page(write_report(small_run, [gone]).read_text(encoding="utf-8")).all("img")


def colours(source, which):
    """The variables of the style sheet's light or dark colours."""
    blocks = re.findall(r":root \{([^}]*)\}", source)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[which]))


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "card", "warm", "soft"])
@pytest.mark.parametrize("text", ["ink", "muted", "accent", "link", "bad"])
def test_text_stands_out_from_every_ground(source, which, ground, text):
    found = colours(source, which)
    pair = sorted([luminance(found[text]), luminance(found[ground])])
    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_long_names_may_be_broken_and_stay_escaped(small_run, edit):
    name = "a_long-name.of<b>one/model"

    def rename(results):
        results["tasks"]["jailbreak"]["models"][0]["model"] = name

    page = render(edit(small_run, rename))
    assert not page.all("b") or name in page.words
    assert len(page.all("wbr")) > 4


def test_equal_runs_give_equal_pages(run_folder, drawn):
    pages = [write_report(run_folder, drawn).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_winner_stands_against_every_other_model(page):
    assert "p is adjusted over all 10 pairs of models (Holm)" in page.words
    assert (
        "“Better” is said only where the whole interval lies above zero and the adjusted p is below 0.05."
        in page.words
    )
    assert "The smallest difference that these rows would show four times in five" in page.words


def test_training_and_readiness_have_their_sections(page):
    for heading in ("What tuning found", "Adaptive class weights", "Calibration", "Operating points"):
        assert heading in page.words
    assert "0.520 ± 0.020 (n = 3)" in page.words
    assert "too few rows that are no threat" in page.words
    assert "at most 5 % of new rows are answered wrongly and surely" in page.words


def test_parts_a_run_has_not_are_left_out(small_run, edit):
    def strip(results):
        task = results["tasks"]["jailbreak"]
        task["statistics"] = {}
        for model in task["models"]:
            for key in ("seeds", "search", "ready", "best_params"):
                model.pop(key, None)

    shutil.rmtree(small_run / "curves")
    words = render(edit(small_run, strip)).words
    for heading in (
        "Is the winner really better?",
        "Could the source explain the score?",
        "From fold to fold",
        "What tuning found",
        "Operating points",
        "Members of",
    ):
        assert heading not in words
    assert "League: test split" in words


def test_a_skipped_model_has_a_row_with_its_reason(small_run, edit):
    def skip(results):
        broken = results["tasks"]["jailbreak"]["models"][-1]
        broken |= {"status": "skipped", "reason": "the hub cannot be reached"}

    words = render(edit(small_run, skip)).words
    assert "skipped: the hub cannot be reached" in words
    assert "broken_model was skipped and is not compared: the hub cannot be reached." in words


def test_warnings_of_the_statistics_are_said_once(small_run, edit):
    text = "labels depend strongly on the source"

    def warn(results):
        task = results["tasks"]["jailbreak"]
        task["warnings"].append(text)
        task["statistics"]["warnings"] = [text]

    assert render(edit(small_run, warn)).words.count("Labels depend strongly on the source.") == 1


def test_fits_that_were_left_out_are_named(small_run, edit):
    lost = {"protocol": "cv", "fold": "2", "status": "skipped", "reason": "one class only"}
    page = render(edit(small_run, lambda results: results["tasks"]["jailbreak"].update(protocols=[lost])))
    assert "grouped cross-validation, 2: left out, one class only" in page.words
