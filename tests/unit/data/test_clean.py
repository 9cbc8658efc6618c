"""Tests of cleaning as a whole."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.config import parse_settings
from demur.data import CleanConfig, DataSource, Quarantine, Records, clean_records, load_sources, read_records
from demur.errors import ConfigError, EmptyDataError
from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL

TASKS = (REFUSAL, JAILBREAK, PROMPT_RISK)
FAST = CleanConfig(detect_language=False)


def row(prompt, response=None, **others):
    return {"prompt": prompt, "response": response, **others}


def clean(rows, config=FAST, quarantine=None):
    return clean_records(Records.from_rows(rows), config, TASKS, quarantine)


def test_sound_records_pass_unchanged():
    rows = [
        row("how do I bake?", "mix and wait", refusal="no_refusal"),
        row("and sell it?", "no", refusal="hard_refusal"),
    ]
    records, report = clean(rows)
    assert records.texts("prompt") == [item["prompt"] for item in rows]
    assert all(step.changed == step.rejected == 0 for step in report.steps)


def test_every_step_starts_with_the_rows_the_last_one_left():
    _, report = clean([row("a", "b"), row("a", "b"), row(" ", None), row("c", "d")])
    assert report.rows_in == 4
    assert report.rows_out == 2
    for step in report.steps:
        assert step.rows_out == step.rows_in - step.rejected
    for earlier, later in zip(report.steps, report.steps[1:], strict=False):
        assert earlier.rows_out == later.rows_in


def test_rejected_rows_are_written_down_with_their_place_reason_and_id(tmp_path):
    rows = [row("a", "b", id="x"), row("  ", "", id="y", source="s"), row("A ", "b", id="z")]
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        clean(rows, quarantine=quarantine)
    assert [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()] == [
        {"file": "s", "row": 2, "reason": "no text", "id": "y"},
        {"file": "records", "row": 3, "reason": "a duplicate of an earlier row", "id": "z"},
    ]


def test_the_quarantine_holds_as_many_rows_as_the_report_rejects(tmp_path):
    rows = [row("a", "b"), row("a", "b"), row("", ""), row("x" * 50, "c"), row("d", "e", refusal="no_refusal")]
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        _, report = clean(rows, CleanConfig(detect_language=False, max_chars=20, overlong="reject"), quarantine)
    assert len(quarantine) == sum(step.rejected for step in report.steps) == 3


def test_a_step_switched_off_is_not_in_the_report():
    off = CleanConfig(
        repair_encoding=False,
        remove_control=False,
        trim=False,
        detect_language=False,
        drop_duplicates=False,
        near_duplicates=False,
    )
    records, report = clean([row(" a\x00", "b"), row(" a\x00", "b")], off)
    assert records.texts("prompt") == [" a\x00", " a\x00"]
    assert [step.step for step in report.steps if not step.step.startswith("contradictions")] == [
        "empty",
        "overlong",
    ]


def test_afterwards_every_row_has_a_group():
    records, _ = clean([row("a", "b"), row("a", "c"), row(None, "d")])
    groups = records.texts("group")
    assert groups[0] == groups[1] != groups[2]
    assert all(groups)


def test_near_duplicate_prompts_share_a_group_unless_switched_off():
    prompts = [
        "How do I repair the old oak table in my kitchen now?",
        "How do I repair the old oak table in my kitchen?",
    ]
    joined, report = clean([row(prompts[0], "x"), row(prompts[1], "y")])
    apart, _ = clean(
        [row(prompts[0], "x"), row(prompts[1], "y")], CleanConfig(detect_language=False, near_duplicates=False)
    )
    assert len(set(joined.texts("group"))) == 1
    assert len(set(apart.texts("group"))) == 2
    assert report.rows_out == 2


def test_near_duplicates_are_dropped_only_on_request_and_with_equal_labels():
    texts = [
        ("How do I repair the old oak table in my kitchen" + end, "Sand it down first") for end in ("?", "??", "!")
    ]
    labels = ["no_refusal", "no_refusal", "hard_refusal"]
    rows = [row(*text, refusal=label) for text, label in zip(texts, labels, strict=True)]
    kept, _ = clean(rows, CleanConfig(detect_language=False, drop_near_duplicates=True))
    assert kept.texts("refusal") == ["no_refusal", "hard_refusal"]


def test_rejecting_every_row_is_an_error_that_names_the_step():
    with pytest.raises(EmptyDataError, match="rejected every row, the last ones at step 'empty'"):
        clean([row(" "), row(None, "")])


def test_a_row_whose_only_label_lacks_its_text_is_rejected_and_others_lose_the_label():
    rows = [
        row("a", None, refusal="no_refusal"),
        row("b", None, refusal="no_refusal", prompt_risk="benign"),
        row("c", None),
    ]
    records, report = clean(rows)
    assert records.texts("prompt") == ["b", "c"]
    assert records.frame["refusal"].to_list() == [None, None]
    (step,) = [step for step in report.steps if step.step == "empty"]
    assert (step.changed, step.rejected) == (1, 1)


def test_a_response_without_a_prompt_keeps_its_refusal_label():
    records, _ = clean([row(None, "I can't help with that.", refusal="hard_refusal")])
    assert records.texts("refusal") == ["hard_refusal"]


def test_the_report_is_json_and_one_row_a_step():
    _, report = clean([row("a", "b")])
    assert json.loads(json.dumps(report.to_json()))["rows_in"] == 1
    assert report.frame()["step"].to_list() == [step.step for step in report.steps]


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="unknown key 'max_char'; did you mean 'max_chars'"):
        parse_settings(CleanConfig, {"max_char": 5})


def test_thresholds_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="near_threshold"):
        parse_settings(CleanConfig, {"near_threshold": 1.5})


WORDS = st.lists(st.sampled_from(["bake", "bread", "Bake", "no", " ", "\x07", "Ã©", "…"]), max_size=4).map(
    " ".join
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prompt": st.none() | WORDS,
                "response": st.none() | WORDS,
                "refusal": st.none() | st.sampled_from(REFUSAL.labels),
                "prompt_risk": st.none() | st.sampled_from(PROMPT_RISK.labels),
            }
        ),
        min_size=1,
        max_size=12,
    )
)
def test_cleaning_twice_changes_nothing_more(rows):
    try:
        once, _ = clean(rows)
    except EmptyDataError:
        return
    twice, report = clean_records(once, FAST, TASKS)
    assert twice.frame.equals(once.frame)
    assert report.rows_in == report.rows_out


@pytest.mark.slow
@pytest.mark.skipif("DEMUR_REAL_DATA" not in os.environ, reason="DEMUR_REAL_DATA names no folder of real sets")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_real_sets_are_cleaned_with_hardly_a_loss(task):
    path = Path(os.environ["DEMUR_REAL_DATA"]) / f"{task.name}.jsonl"
    records = read_records(path, columns={task.name: "label"}, tasks=[task])
    cleaned, report = clean_records(records, CleanConfig(), [task])
    assert len(cleaned) > 0.97 * len(records)
    assert report.rows_out == len(cleaned)


def test_repairing_texts_keeps_every_row_and_undoes_what_cleaning_undoes() -> None:
    from demur.data import repair_texts

    broken = Records.from_rows(
        [
            {"prompt": " how \x00so? ", "response": "I canâ€™t.\r\n", "n": 1},
            {"prompt": "", "response": None, "n": 2},
        ]
    )
    repaired = repair_texts(broken)
    assert repaired.frame["prompt"].to_list() == ["how so?", ""]
    assert repaired.frame["response"].to_list() == ["I can’t.", None]
    assert repaired.frame["n"].to_list() == [1, 2]
    assert repaired.frame.columns == broken.frame.columns


def test_rows_of_files_are_set_aside_under_the_numbers_they_have_there(tmp_path):
    """The first file loses a row in reading, so positions and numbers differ."""
    first, second = tmp_path / "first.csv", tmp_path / "second.jsonl"
    first.write_text("prompt,response,refusal\na,b,maybe\na tale,of two,no_refusal\na tale,of two,no_refusal\n")
    second.write_text('{"prompt": "c", "response": "d"}\n\n{"prompt": "\\u0000", "response": "\\u0000"}\n')
    sources = [DataSource(path=str(first)), DataSource(path=str(second)), DataSource(path="starter:desk", limit=3)]
    records = load_sources(sources, [REFUSAL], tmp_path / "aside", keep_places=True)
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        cleaned, _ = clean_records(records, CleanConfig(detect_language=False), [REFUSAL], quarantine)
    rows = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert [(row["file"], row["row"]) for row in rows] == [(str(second), 3), (str(first), 3)]
    assert not [name for name in cleaned.frame.columns if name.startswith("\0")]


def test_without_being_asked_for_no_places_are_kept(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response\na,b\n")
    assert not [name for name in load_sources([DataSource(path=str(path))], []).frame.columns if "\0" in name]
