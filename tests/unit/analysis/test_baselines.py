from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from demur.analysis import label_shares, score_baselines
from demur.data import Records
from demur.tasks import REFUSAL, CostStructure, ScoreTerm


def loader(**protocols):
    return lambda model, protocol: protocols.get(protocol) if model == "winner" else None


def as_records(rows, task):
    columns = {"id": rows.ids, "prompt": [f"text {name}" for name in rows.ids]}
    columns |= {"source": rows.column("source"), "model": rows.column("answerer"), "group": rows.column("group")}
    return Records(pl.DataFrame(columns | {task.name: [task.labels[label] for label in rows.y]}))


@pytest.fixture
def told(judged):
    """Rows whose source gives the label away, but for some noise."""
    rows = judged(1.0, n=240)
    noise = np.random.default_rng(1).random(240) < 0.1
    source = [f"s{(label + flip) % 3}" for label, flip in zip(rows.y, noise, strict=True)]
    return replace(rows, columns={**rows.columns, "source": source})


def test_shares_are_those_of_the_training_rows_with_the_key():
    found = label_shares(np.array([0, 0, 1, 1]), ["a", "a", "a", "b"], ["a", "b", "new"], 2)
    assert found == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1], [0.5, 0.5]]))


def test_a_source_that_gives_labels_away_beats_a_weak_winner(told, task, fast):
    found = {(one.sees, one.rule): one for one in score_baselines(task, "winner", loader(cv=told), None, fast)}
    assert found["source", "most frequent"].metrics["f1_macro"].b > 0.8
    assert found["source", "most frequent"].metrics["f1_macro"].high < 0
    assert found["nothing", "most frequent"].metrics["f1_macro"].b < 0.3
    assert found["answering model", "most frequent"].metrics["f1_macro"].b < 0.5


def test_no_row_is_judged_by_what_its_own_fold_holds(told, task, fast):
    """A source that stands in one fold alone is unknown to the others, so it is called as all rows are."""
    columns = {**told.columns, "source": told.column("fold")}
    found = score_baselines(task, "winner", loader(cv=replace(told, columns=columns)), None, fast)
    by = {(one.sees, one.rule): one.metrics["f1_macro"].b for one in found}
    assert by["source", "most frequent"] == by["nothing", "most frequent"]


def test_the_most_telling_label_is_called_where_all_sources_prefer_another(judged, task, fast):
    rows = judged(1.0, n=200)
    y = np.array([0, 0, 0, 1, 1] * 12 + [0, 0, 0, 2, 2] * 12 + [0] * 80)
    source = ["a"] * 60 + ["b"] * 60 + ["c"] * 80
    rows = replace(rows, y=y, columns={**rows.columns, "source": source})
    by = {
        (one.sees, one.rule): one.metrics["f1_macro"].b
        for one in score_baselines(task, "winner", loader(cv=rows), None, fast)
    }
    assert by["source", "most telling"] > by["source", "most frequent"]


def test_the_test_split_learns_from_the_training_rows_alone(told, task, fast):
    test, valid = told.take(np.arange(60)), told.take(np.arange(60, 100))
    load = loader(test=test, valid=valid)
    assert score_baselines(task, "winner", load, None, fast) == []
    found = score_baselines(task, "winner", load, as_records(told, task), fast)
    assert {(one.protocol, one.n) for one in found} == {("test", 60)}
    held = as_records(told.take(np.arange(100)), task)
    assert score_baselines(task, "winner", load, held, fast) == []


def test_what_all_rows_share_is_no_baseline(judged, task, fast):
    rows = judged(1.0)
    rows = replace(rows, columns={**rows.columns, "source": ["one"] * 120, "answerer": [None] * 120})
    assert {one.sees for one in score_baselines(task, "winner", loader(cv=rows), None, fast)} == {"nothing"}


def test_knowing_both_is_left_out_where_one_implies_the_other(told, task, fast):
    implied = [f"{source}-{number % 2}" for number, source in enumerate(told.column("source"))]
    rows = replace(told, columns={**told.columns, "answerer": implied})
    found = {one.sees for one in score_baselines(task, "winner", loader(cv=rows), None, fast)}
    assert found == {"nothing", "source", "answering model"}
    both = {one.sees for one in score_baselines(task, "winner", loader(cv=told), None, fast)}
    assert "source and answering model" in both


def test_one_label_for_all_may_reach_a_score_and_is_among_the_judges(told, fast):
    """Where recall of a class without critical errors carries the score, calling everything so has half of it."""
    recall = ScoreTerm(metric="recall", label="soft_refusal", weight=1.0)
    cost = CostStructure(terms=(recall,), critical=REFUSAL.scoring.critical)
    task = REFUSAL.model_copy(update={"cost": cost})
    rows = replace(told, y=np.array([0, 0, 1, 2] * 60))
    found = score_baselines(task, "winner", loader(cv=rows), None, fast)
    by = {one.rule: one.metrics["custom_score"].b for one in found if one.sees == "nothing"}
    assert by["best scoring"] == pytest.approx(1)
    assert by["most frequent"] < 0.1
