"""Tests of what stands between the sources and the models: cleaning, groups, splits, blind rows, leaks."""

import json

import numpy as np
import pytest

from demur.data import Split
from demur.errors import DataError, LeakError, MissingColumnError, StorageError
from demur.experiment import _prepare as prepare
from demur.experiment._folder import RunFolder
from demur.experiment._prepare import prepare_tasks
from demur.tasks import BUILT_IN, load_task

REFUSAL = BUILT_IN["refusal"]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def prepared(config, folder):
    """Prepares one task of a tiny experiment: ``prepared(tasks, **changes)``."""
    return lambda tasks=(REFUSAL,), **changes: prepare_tasks(config(**changes), list(tasks), folder)


def prompts(records):
    return set(records.texts("prompt"))


def test_the_parts_take_every_row_once_and_share_no_prompt(prepared):
    (data,) = prepared()
    parts = [data.records.take(rows) for rows in (data.main.train, data.main.valid, data.main.test)]
    assert sum(len(part) for part in parts) == len(data.records) == 120
    assert len(set.union(*map(prompts, parts))) == sum(len(prompts(part)) for part in parts)


def test_the_same_seed_gives_the_same_split_and_another_seed_another(prepared):
    first, again, other = (prepared(seed=seed)[0].main for seed in (7, 7, 8))
    assert first.test.tolist() == again.test.tolist()
    assert first.test.tolist() != other.test.tolist()


@pytest.mark.parametrize("own", [0, 5])
def test_a_seed_of_the_split_itself_wins(prepared, own):
    one, other = (prepared(seed=seed, split={"seed": own})[0].main.test.tolist() for seed in (1, 2))
    assert one == other


def test_the_reports_of_cleaning_are_written(prepared, folder, write, rows):
    prepared(blind=[{"path": str(write(rows(20, first=500), "blind.jsonl"))}])
    for part, count in (("data", 120), ("blind", 20)):
        report = json.loads((folder.data / f"report-{part}.json").read_text())
        assert report["cleaning"]["rows_in"] == count
        assert report["quarantined"] == {}


def test_rows_that_cannot_be_used_are_set_aside_and_old_ones_forgotten(prepared, folder, write, rows):
    bad = [*rows(118), {"prompt": "p", "response": "r", "refusal": "maybe"}, {"prompt": " ", "response": ""}]
    for _ in range(2):
        prepared(data=[{"path": str(write(bad, "bad.jsonl"))}])
        (quarantine,) = (folder.data / "data").glob("quarantine*.jsonl")
        found = [json.loads(line) for line in quarantine.read_text().splitlines()]
        assert sorted(row["row"] for row in found) == [119, 120]
        assert any("maybe" in row["reason"] for row in found)
    prepared()
    assert list((folder.data / "data").glob("quarantine*.jsonl")) == []


def test_blind_rows_that_share_a_prompt_with_the_data_are_dropped_and_counted(prepared, write, rows):
    blind = write(rows(30, first=110), "blind.jsonl")  # rows 110 to 119 are in the data
    (data,) = prepared(blind=[{"path": str(blind)}])
    assert len(data.blind) == 20
    assert not prompts(data.blind) & prompts(data.records)
    assert data.warnings == [
        "10 blind rows share a group with the data (a prompt, nearly the same prompt, or a group name; "
        "own_groups: true tells the names of two files apart) "
        "and were left out"
    ]


def test_blind_rows_with_a_near_duplicate_of_a_prompt_are_dropped_too(prepared, write, rows):
    blind = rows(20, first=500)
    words = " ".join(f"word{number}" for number in range(60))
    own = [{**row, "id": f"own-{row['id']}", "prompt": f"{words} {row['id'][:2]}"} for row in rows(2, first=900)]
    blind += [{**own[0], "id": "blind", "prompt": words, "response": "something else"}]
    (data,) = prepared(
        data=[{"path": str(write([*rows(), *own], "own.jsonl"))}], blind=[{"path": str(write(blind, "b.jsonl"))}]
    )
    assert len(data.blind) == 20
    assert "1 blind rows share a group" in data.warnings[0]


def test_a_task_that_reads_the_response_alone_never_meets_one_again_on_the_other_side(prepared, write, rows):
    task = load_task({"name": "tone", "labels": ["warm", "cool"], "fields": ["response"]})

    def answered(many, answers):
        return [
            row | {"response": f"answer {number % answers}", "tone": task.labels[number % answers % 2]}
            for number, row in enumerate(many)
        ]

    path = write(answered(rows(120), 20))
    blind = write(answered(rows(30, first=500), 30), "blind.jsonl")
    (data,) = prepared([task], data=[{"path": str(path)}], blind=[{"path": str(blind)}])
    sides = [
        set(data.records.take(rows).texts("response"))
        for rows in (data.main.train, data.main.valid, data.main.test)
    ]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 20
    assert set(data.blind.texts("response")) == {f"answer {number}" for number in range(20, 30)}
    assert "20 blind rows have a text of the training data and were left out" in data.warnings


def test_a_blind_set_that_is_all_known_leaves_none_and_says_so(prepared, write, rows):
    (data,) = prepared(blind=[{"path": str(write(rows(20), "blind.jsonl"))}])
    assert data.blind is None
    assert "the blind set has no row of this task: f1_external is null" in data.warnings
    assert any(warning.startswith("20 blind rows share a group") for warning in data.warnings)


def test_a_blind_set_without_the_task_says_so(prepared, write, rows):
    unlabelled = [{key: row[key] for key in ("id", "prompt", "response")} for row in rows(10, first=500)]
    (data,) = prepared(blind=[{"path": str(write(unlabelled, "blind.jsonl"))}])
    assert data.blind is None
    assert data.warnings == ["the blind set has no row of this task: f1_external is null"]


def test_without_a_blind_set_there_is_nothing_to_warn_of(prepared):
    (data,) = prepared()
    assert data.blind is None
    assert data.warnings == []


def leak_one_row(split):
    """The split with the first test row in the training rows too."""
    return Split(split.name, np.append(split.train, split.test[0]), split.test, split.valid, split.fold)


def leak_one_group(split, groups):
    """The split with one row moved to training whose group stays in the test rows."""
    counts = {group: (groups[split.test] == group).sum() for group in groups[split.test]}
    shared = next(group for group, count in counts.items() if count > 1)
    moved = split.test[groups[split.test] == shared][0]
    return Split(
        split.name, np.append(split.train, moved), split.test[split.test != moved], split.valid, split.fold
    )


def test_a_planted_row_on_both_sides_fails_the_run(prepared, monkeypatch):
    original = prepare.split_records
    monkeypatch.setattr(prepare, "split_records", lambda *arguments: leak_one_row(original(*arguments)))
    with pytest.raises(
        LeakError, match=r"split 'test': 1 rows stand on both sides .*such as r\d+; make the split"
    ):
        prepared()


def test_a_planted_group_on_both_sides_fails_the_run(prepared, monkeypatch):
    original = prepare.split_records

    def leaking(records, *arguments):
        return leak_one_group(original(records, *arguments), records.groups())

    monkeypatch.setattr(prepare, "split_records", leaking)
    with pytest.raises(LeakError, match=r"split 'test': \d+ rows have a group that stands on both sides"):
        prepared()


def test_a_planted_duplicate_that_cleaning_is_told_to_keep_never_straddles(prepared, write, rows):
    twins = [*rows(), *({**row, "id": f"twin-{row['id']}"} for row in rows(40))]
    (data,) = prepared(
        data=[{"path": str(write(twins, "twins.jsonl"))}],
        clean={"drop_duplicates": False, "detect_language": False},
    )
    assert len(data.records) == 160
    assert not prompts(data.records.take(data.main.train)) & prompts(data.records.take(data.main.test))


def test_a_duplicate_whose_group_says_otherwise_still_does_not_straddle(prepared, write, rows):
    """Groups given by the user are joined where the texts are the same."""
    grouped = [{**row, "group": f"g{number}"} for number, row in enumerate(rows())]
    (data,) = prepared(data=[{"path": str(write(grouped, "grouped.jsonl"))}])
    assert not prompts(data.records.take(data.main.train)) & prompts(data.records.take(data.main.test))


@pytest.mark.parametrize("name", ["cross_validate", "leave_one_out"])
def test_a_planted_leak_in_a_further_protocol_fails_the_run(prepared, monkeypatch, name):
    original = getattr(prepare, name)
    monkeypatch.setattr(
        prepare, name, lambda *arguments, **named: [leak_one_row(split) for split in original(*arguments, **named)]
    )
    with pytest.raises(LeakError, match="1 rows stand on both sides"):
        prepared(validation={"cv": 3, "leave_one_out": ["model"]})


def test_extra_rows_train_in_every_split_and_are_never_judged(prepared, write, rows):
    extra = [{"path": str(write(rows(15, first=500), "extra.jsonl"))}]
    validation = {"cv": 4, "leave_one_out": ["source"]}
    (plain,), (data,) = prepared(validation=validation), prepared(extra=extra, validation=validation)
    added = list(range(120, 135))
    assert len(data.records) == 135
    for before, split in zip(
        [plain.main, *plain.cv[4], *plain.protocols["leave_one_source_out"]],
        [data.main, *data.cv[4], *data.protocols["leave_one_source_out"]],
        strict=True,
    ):
        assert split.test.tolist() == before.test.tolist()
        assert max(split.test) < 120
        held = data.records.column("source")[added] == split.fold
        assert split.train.tolist() == [*before.train, *np.array(added)[~held]]
    assert data.main.valid.tolist() == plain.main.valid.tolist()


def test_extra_rows_of_the_answerer_held_out_do_not_train_beside_it(prepared, write, rows):
    extra = [{"path": str(write(rows(16, first=500), "extra.jsonl"))}]
    (data,) = prepared(extra=extra, validation={"leave_one_out": ["model"]})
    answerers = data.records.column("model")
    for split in data.protocols["leave_one_model_out"]:
        assert split.fold not in set(answerers[split.train])
        assert set(split.train) & set(range(120, 136))


def test_extra_rows_that_share_a_prompt_with_data_or_blind_are_dropped_and_counted(prepared, write, rows):
    extra = [{"path": str(write([*rows(10), *rows(5, first=500), *rows(7, first=600)], "extra.jsonl"))}]
    (data,) = prepared(extra=extra, blind=[{"path": str(write(rows(20, first=500), "blind.jsonl"))}])
    assert len(data.records) == 127
    assert len(data.blind) == 20
    assert [warning[:58] for warning in data.warnings] == [
        "15 extra rows share a group with the data or blind (a prom"
    ]


def test_extra_rows_of_a_task_that_reads_the_response_alone_are_new_responses(prepared, write, rows):
    task = load_task({"name": "tone", "labels": ["warm", "cool"], "fields": ["response"]})

    def answered(many):
        return [
            row | {"response": f"answer {number % 30}", "tone": task.labels[number % 2]}
            for number, row in enumerate(many)
        ]

    data_rows, extra_rows = answered(rows(120)), answered(rows(29, first=500))
    fresh = extra_rows[0] | {"id": "fresh", "prompt": "another", "response": "a new answer"}
    (data,) = prepared(
        [task],
        data=[{"path": str(write(data_rows, "tone.jsonl"))}],
        extra=[{"path": str(write([*extra_rows, fresh], "extra.jsonl"))}],
    )
    assert data.records.take(data.main.train[-1:]).texts("response") == ["a new answer"]
    assert len(data.records) == 121


def test_extra_rows_without_the_task_are_said(prepared, write, rows):
    unlabelled = [{key: row[key] for key in ("id", "prompt", "response")} for row in rows(10, first=500)]
    (data,) = prepared(extra=[{"path": str(write(unlabelled, "extra.jsonl"))}])
    assert data.warnings == ["no extra row is of this task"]


def test_cross_validation_tests_each_row_once(prepared):
    (data,) = prepared(validation={"cv": 4, "leave_one_out": []})
    tested = np.concatenate([split.test for split in data.cv[4]])
    assert sorted(tested) == list(range(120))
    assert len(data.cv[4]) == 4


@pytest.mark.parametrize("by", ["model", "source"])
def test_each_answerer_and_source_is_held_out_in_turn(prepared, by):
    (data,) = prepared(validation={"leave_one_out": [by]})
    values = data.records.column(by)
    for split in data.protocols[f"leave_one_{by}_out"]:
        assert set(values[split.test]) == {split.fold}
        assert split.fold not in set(values[split.train])
    assert [split.fold for split in data.protocols[f"leave_one_{by}_out"]] == sorted(set(values))


def test_shared_prompts_of_held_out_answerers_are_counted_or_held_out_too(prepared):
    (loose,) = prepared(validation={"leave_one_out": ["model"]})
    assert (
        "leave_one_model_out: 120 of 120 held-out rows have a prompt that is trained on too" in loose.warnings[0]
    )
    (strict,) = prepared(validation={"leave_one_out": ["model"], "strict_groups": True})
    assert strict.warnings == []
    groups = strict.records.groups()
    for split in strict.protocols["leave_one_model_out"]:
        assert not set(groups[split.train]) & set(groups[split.test])


def test_a_column_with_one_value_is_not_held_out_and_says_so(prepared, write, rows):
    single = [{**row, "source": "only"} for row in rows()]
    (data,) = prepared(data=[{"path": str(write(single))}], validation={"leave_one_out": ["source"]})
    assert data.protocols == {}
    assert data.warnings == ["leave_one_source_out was left out: the rows have fewer than two values of 'source'"]


def test_a_value_without_which_one_class_is_left_is_not_held_out_and_says_so(prepared, write, rows):
    lopsided = [
        {**row, "source": "varied"} if row["refusal"] != "no_refusal" else {**row, "source": "plain"}
        for row in rows()
    ]
    (data,) = prepared(data=[{"path": str(write(lopsided))}], validation={"leave_one_out": ["source"]})
    assert [split.fold for split in data.protocols["leave_one_source_out"]] == ["plain"]
    assert "leave_one_source_out: 'varied' was not held out, the rest has one class only" in data.warnings


def test_values_with_few_rows_are_not_held_out(prepared):
    (data,) = prepared(validation={"leave_one_out": ["source"], "min_rows": 31})
    assert [split.fold for split in data.protocols["leave_one_source_out"]] == ["one"]


def test_a_task_without_labels_is_left_out_and_the_others_go_on(prepared):
    found = prepared(tasks=[BUILT_IN["jailbreak"], REFUSAL])
    assert [data.task.name for data in found] == ["refusal"]
    assert found[0].warnings[0].startswith("left out: task 'jailbreak': the data has no column 'jailbreak'")


def test_where_no_task_is_left_the_error_names_each(prepared):
    with pytest.raises(DataError, match=r"task 'jailbreak': .*; task 'prompt_risk': .*no column 'prompt_risk'"):
        prepared(tasks=[BUILT_IN["jailbreak"], BUILT_IN["prompt_risk"]])


def test_one_class_only_is_refused_with_the_remedy(prepared, write, rows):
    path = write(rows(60, labels=("hard_refusal",)))
    with pytest.raises(
        DataError, match="all 60 rows of task 'refusal' have the label 'hard_refusal'; add rows of"
    ):
        prepared(data=[{"path": str(path)}])


def test_a_single_group_is_refused_with_the_remedy(prepared, write, rows):
    path = write([{**row, "group": "all"} for row in rows()])
    with pytest.raises(DataError, match="all 120 rows of task 'refusal' form a single group"):
        prepared(data=[{"path": str(path)}])


def test_more_folds_than_groups_are_refused_with_the_remedy(prepared, write, rows):
    with pytest.raises(DataError, match="ask for between 2 and 4 folds or give more prompts"):
        prepared(data=[{"path": str(write(rows(8)))}], validation={"cv": 20, "leave_one_out": []})


def test_the_description_counts_rows_groups_classes_sources_and_answerers(prepared):
    (data,) = prepared()
    described = data.describe()
    whole = {part: described[part] for part in ("train", "valid", "test")}
    assert sum(part["n"] for part in whole.values()) == 120
    assert sum(part["groups"] for part in whole.values()) == 60
    assert sum(part["sources"]["two"] for part in whole.values()) == 30
    assert sum(part["answerers"]["ada"] for part in whole.values()) == 60
    assert all(list(part["classes"]) == list(REFUSAL.labels) for part in whole.values())
    assert described["blind"] is described["blind_hash"] is None


def test_the_hash_of_the_data_changes_with_a_cell(prepared, write, rows):
    before = prepared()[0].describe()["hash"]
    changed = rows()
    changed[3]["response"] += " indeed"
    assert prepared(data=[{"path": str(write(changed))}])[0].describe()["hash"] != before
    assert prepared(data=[{"path": str(write(rows()))}])[0].describe()["hash"] == before


def test_a_task_of_ones_own_reads_its_own_column(prepared, write, rows):
    own = load_task({"name": "tone", "labels": ["warm", "cold"]})
    named = [{**row, "tone": ("warm", "cold")[number % 2]} for number, row in enumerate(rows())]
    (data,) = prepared(tasks=[own], data=[{"path": str(write(named))}])
    assert data.describe()["train"]["classes"].keys() == {"warm", "cold"}


def test_a_column_that_is_mapped_but_not_there_is_named(prepared, values):
    source = values["data"][0] | {"columns": {"jailbreak": "verdict"}}
    with pytest.raises(MissingColumnError, match="no column 'verdict'"):
        prepared(data=[source])


def test_a_single_bad_label_without_any_good_row_is_an_error(prepared, write, rows):
    with pytest.raises(DataError, match=r"none of the 10 rows .* can be used .row 1: label 'never'"):
        prepared(data=[{"path": str(write([{**row, "refusal": "never"} for row in rows(10)]))}])


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="while making the run folder"):
        prepare_tasks(config(), [REFUSAL], RunFolder(tmp_path / "file" / "run"))


def test_the_texts_of_the_rows_are_not_in_the_reports(prepared, folder, write, rows):
    odd = [*rows(118), {"prompt": "a very private matter", "response": "r", "refusal": "maybe"}]
    prepared(data=[{"path": str(write(odd))}])
    written = "".join(path.read_text() for path in folder.data.rglob("*") if path.is_file())
    assert "private" not in written
