from collections import Counter

import pytest
import yaml
from tests.conftest import make_rows, write_rows
from tests.retraining import FLIPPED, TASK, answer

from demur.data import read_records
from demur.errors import ConfigError, DataError
from demur.serve.retrain._gather import cap_contributors, gather
from demur.serve.retrain._votes import Decision


def decision(number, key="app", source="user", subject=""):
    return Decision(f"t{number}", number, "a", source, key, subject)


def test_no_key_has_more_than_its_share():
    decisions = tuple(decision(number, key="evil") for number in range(200))
    kept, capped = cap_contributors(decisions, 80, 0.2, 1.0)
    assert len(kept) == 20
    assert capped == {"key": 180, "subject": 0}


def test_no_subject_has_more_than_its_share_of_a_keys_rows():
    decisions = tuple(decision(number, subject="evil" if number < 100 else str(number)) for number in range(200))
    kept, capped = cap_contributors(decisions, 300, 1.0, 0.05)
    count = Counter(one.subject for one in kept)["evil"]
    assert count == 100 - capped["subject"]
    assert count <= 0.05 * (300 + len(kept))


def test_labels_of_judges_and_people_are_not_cut():
    decisions = tuple(decision(number, key="", source="judge") for number in range(200))
    assert cap_contributors(decisions, 10, 0.01, 0.01)[0] == list(decisions)


def test_which_rows_stay_does_not_depend_on_their_order():
    decisions = tuple(decision(number, key="evil") for number in range(50))
    first = cap_contributors(decisions, 40, 0.2, 1.0)[0]
    second = cap_contributors(decisions[::-1], 40, 0.2, 1.0)[0]
    assert {one.text for one in first} == {one.text for one in second}


@pytest.fixture
def texts(order):
    """Id to row of each file that was gathered."""

    def read(name):
        return read_records(getattr(order().files, name)).frame.to_dicts()

    return read


def test_new_rows_stand_beside_the_original_ones(order, store, texts):
    answer(store, make_rows(50, first=1000))
    facts = gather(order())
    rows = facts["rows"]
    assert rows["base"] == 240
    assert rows["train"] == 240 + rows["new_train"]
    assert rows["new_train"] + rows["recent"] == 50
    assert rows["golden"] == 240
    train = texts("train")
    assert Counter(row["source"] for row in train)["feedback-user"] == rows["new_train"]
    assert {row["labelled_by"] for row in train} == {None, "user"}
    assert all(row[TASK] for row in train)


def test_recent_rows_share_no_group_with_what_is_trained_on_and_are_the_same_each_time(order, store, texts):
    whole = {"labels": {"max_key_share": 1.0}}
    answer(store, make_rows(80, first=1000))
    gather(order(**whole))
    first = {row["id"] for row in texts("recent")}
    groups = {row["group"] for row in texts("recent")}
    assert groups.isdisjoint(row["group"] for row in texts("train"))
    assert 8 <= len(first) <= 40
    answer(store, make_rows(40, first=2000))
    gather(order(**whole))
    held = {row["id"] for row in texts("recent")}
    assert first <= held
    assert first.isdisjoint(row["id"] for row in texts("train"))


def test_rows_of_the_golden_set_are_not_trained_on(order, store, texts):
    golden = make_rows(6, first=4000)
    near = [
        row | {"id": f"near{number}", "prompt": row["prompt"].upper() + " "} for number, row in enumerate(golden)
    ]
    answer(store, [*make_rows(60, first=1000), *golden, *near])
    facts = gather(order())
    assert facts["left_out"]["near_golden_new"] == 6  # the same texts, case and space aside, are one row
    ids = {row["id"] for name in ("train", "recent") for row in texts(name)}
    assert ids.isdisjoint(f"{row['id']}/0" for row in [*golden, *near])


def test_original_rows_that_stand_in_the_golden_set_are_left_out_too(order, world, store, tmp_path):
    base = write_rows(tmp_path / "base.jsonl", [*make_rows(240), *make_rows(8, first=4000)])
    experiment = yaml.safe_load(world.experiment.read_text()) | {"data": [{"path": str(base)}]}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    answer(store, make_rows(60, first=1000))
    facts = gather(order(experiment=str(tmp_path / "experiment.yaml")))
    assert facts["left_out"]["near_golden_base"] == 8
    assert facts["rows"]["base"] == 240


def test_extra_rows_are_kept_from_the_golden_set(order, world, store, tmp_path):
    extra = write_rows(tmp_path / "extra.jsonl", [*make_rows(20, first=8000), *make_rows(4, first=4000)])
    experiment = yaml.safe_load(world.experiment.read_text())
    experiment |= {"data": [{"path": str(world.base)}], "extra": [{"path": str(extra)}]}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    answer(store, make_rows(60, first=1000))
    facts = gather(order(experiment=str(tmp_path / "experiment.yaml")))
    assert facts["left_out"]["near_golden_extra"] == 4
    assert facts["rows"]["extra"] == 20


def test_what_is_known_teaches_nothing_and_only_people_correct_the_original_data(order, store, texts):
    known, disputed, corrected = make_rows(12)[:4], make_rows(12)[4:8], make_rows(12)[8:]
    answer(store, make_rows(60, first=1000))
    answer(store, known, key="k")
    answer(store, disputed, key="d", flip=True)
    answer(store, corrected, key="ann", source="people", flip=True)
    facts = gather(order())
    assert {name: facts["left_out"][name] for name in ("known", "contradicts_data", "corrects_data")} == {
        "known": 4,
        "contradicts_data": 4,
        "corrects_data": 4,
    }
    rows = [*texts("train"), *texts("recent")]
    labels = {row["prompt"] + row["response"]: row[TASK] for row in rows}
    assert [labels[row["prompt"] + row["response"]] for row in disputed] == [row[TASK] for row in disputed]
    assert [labels[row["prompt"] + row["response"]] for row in corrected] == [
        FLIPPED[row[TASK]] for row in corrected
    ]


def test_flips_of_sure_answers_are_counted_and_wait(order, store):
    answer(store, make_rows(60, first=1000))
    answer(store, make_rows(30, first=6000), key="evil", flip=True, sure=0.99)
    said = gather(order())["labels"]
    assert said["unconfirmed"] == 30
    assert said["flips"]["count"] == 30
    assert said["flips"]["by_key"] == [{"key": "evil", "votes": 30, "flips": 30}]


def test_a_key_that_floods_is_cut_to_its_share(order, store, texts):
    answer(store, make_rows(60, first=1000))
    answer(store, make_rows(300, first=6000), key="evil")
    facts = gather(order(labels={"max_key_share": 0.1}))
    assert facts["labels"]["capped"]["key"] > 200
    assert facts["rows"]["train"] + facts["rows"]["recent"] < 400


def test_facts_hold_no_text(order, store):
    rows = make_rows(60, first=1000)
    answer(store, rows)
    told = str(gather(order()))
    assert not any(row["prompt"] in told or row["response"] in told for row in rows)


def test_too_few_rows_are_refused_with_what_was_left_out(order, store):
    answer(store, make_rows(30, first=1000), flip=True, sure=0.99)
    answer(store, make_rows(5, first=6000))
    with pytest.raises(DataError, match=r"only 5 new labelled rows.*needs 20.*30 unconfirmed flips"):
        gather(order())


def test_labels_that_nobody_can_believe_are_refused(order, store):
    answer(store, make_rows(30, first=1000), flip=True, sure=0.99)
    with pytest.raises(
        DataError, match=r"no label of 30 can be believed \(0 texts contested, 30 flips unconfirmed"
    ):
        gather(order())


def test_without_texts_it_says_what_to_do(order, store):
    answer(store, make_rows(30, first=1000), prompt=None, response=None)
    with pytest.raises(DataError, match=r"30 labelled answers were kept without their texts"):
        gather(order())


def test_files_bring_the_texts_that_are_not_logged(order, store, tmp_path):
    answer(store, make_rows(30, first=1000), prompt=None, response=None)
    path = write_rows(tmp_path / "told.jsonl", make_rows(30, first=1000))
    facts = gather(order(files=[{"path": str(path)}]))
    assert facts["labels"]["decided"] == {"people": 30, "judge": 0, "user": 0}


def test_feedback_before_the_window_and_after_the_begin_is_not_gathered(order, store):
    from datetime import timedelta

    from tests.retraining import NOON

    answer(store, make_rows(60, first=1000))
    answer(store, make_rows(30, first=6000), key="old", at=NOON - timedelta(days=100))
    answer(store, make_rows(30, first=7000), key="late", at=NOON + timedelta(days=2))
    assert gather(order())["labels"]["labelled"] == 60


def test_the_task_must_be_one_of_the_experiment(order, world, tmp_path, store):
    path = tmp_path / "experiment.yaml"
    path.write_text(world.experiment.read_text().replace("- refusal", "- jailbreak"))
    with pytest.raises(ConfigError, match=r"has no task 'refusal' \(it has: jailbreak\)"):
        gather(order(experiment=str(path)))
