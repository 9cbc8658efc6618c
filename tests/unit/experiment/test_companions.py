"""Tests of the rows of other tasks that a model may learn from: none of them tells of a held-out row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records, Split, text_keys
from demur.experiment._companions import gather_companions
from demur.experiment._prepare import TaskData
from demur.tasks import BUILT_IN

REFUSAL, JAILBREAK, RISK = (BUILT_IN[name] for name in ("refusal", "jailbreak", "prompt_risk"))
LABELS = {"refusal": "hard_refusal", "jailbreak": "attack_failed", "prompt_risk": "benign"}


def data_of(task, rows, split=None, blind=None):
    """A task's data of ``(prompt, response, group, base group)`` rows."""
    listed = [
        {"prompt": prompt, "response": response, "group": group, task.name: LABELS[task.name], "model": model}
        for prompt, response, group, _, model in rows
    ]
    records = Records.from_rows(listed)
    everything = np.arange(len(records))
    main = split or Split("test", everything, everything[:0])
    return TaskData(task, records, main, blind, [row[3] for row in rows])


def prompts(found, name="jailbreak"):
    return found[name][1].texts("prompt") if name in found else []


@pytest.fixture
def others():
    rows = [
        ("a", "ra", "g1", "g1", "ada"),
        ("b", "rb", "g2", "g2", "bob"),
        ("c", "rc", "g3", "g3", "ada"),
        ("d", "rd", "g3", "g4", "cal"),
    ]
    return {"jailbreak": data_of(JAILBREAK, rows)}


def gather(mine, others, name="test", fold=None, blind=None):
    """Companions where all rows of ``mine`` are held out."""
    data = data_of(REFUSAL, mine, blind=blind)
    held = np.arange(len(data.records))
    split = Split(name, held[:0], held, None, fold)
    return gather_companions(data, others | {"refusal": data}, split, held)


def test_rows_of_other_groups_are_given_with_their_task(others):
    found = gather([("x", "rx", "g9", "g9", "ada")], others)
    assert list(found) == ["jailbreak"]
    task, records = found["jailbreak"]
    assert (task, records.texts("prompt")) == (JAILBREAK, ["a", "b", "c", "d"])


def test_a_row_of_a_held_out_group_is_left_out(others):
    assert prompts(gather([("x", "rx", "g1", "g1", "ada")], others)) == ["b", "c", "d"]


def test_a_group_that_either_task_made_of_several_is_left_out_whole(others):
    """To the other task rows c and d are one group; to the first they are g3 and g4."""
    assert prompts(gather([("x", "rx", "g4", "g4", "ada")], others)) == ["a", "b"]


def test_a_group_that_the_fitted_task_joined_is_known_by_the_names_all_tasks_share(others):
    assert prompts(gather([("x", "rx", "g9", "g2", "ada")], others)) == ["a", "c", "d"]


def test_a_row_with_a_held_out_text_is_left_out(others):
    assert "b" not in prompts(gather([(" B", "rb ", "g9", "g9", "ada")], others))


def test_a_row_with_a_blind_text_is_left_out(others):
    blind = Records.from_rows([{"prompt": "a", "response": "ra", "refusal": "hard_refusal"}])
    assert prompts(gather([("x", "rx", "g9", "g9", "ada")], others, blind=blind)) == ["b", "c", "d"]


def test_rows_of_a_held_out_answerer_are_left_out(others):
    found = gather([("x", "rx", "g9", "g9", "ada")], others, "leave_one_model_out", "ada")
    assert prompts(found) == ["b", "d"]


def test_a_task_of_which_nothing_is_left_is_not_there(others):
    held = [("x", "rx", f"g{number}", f"g{number}", "ada") for number in range(1, 5)]
    assert gather(held, others) == {}


@given(st.data())
def test_no_companion_shares_a_group_or_a_text_with_a_held_out_row(data):
    row = st.tuples(
        *[st.sampled_from("abcdef")] * 2, *[st.sampled_from(["g1", "g2", "g3", "g4"])] * 2, st.just("m")
    )
    mine = data.draw(st.lists(row, min_size=1, max_size=6))
    theirs = data.draw(st.lists(row, min_size=1, max_size=8))
    found = gather(mine, {"jailbreak": data_of(JAILBREAK, theirs)})
    if "jailbreak" in found:
        given = found["jailbreak"][1]
        held = data_of(REFUSAL, mine)
        assert not set(given.texts("group")) & {group for _, _, *groups, _ in mine for group in groups}
        assert not set(text_keys(given, REFUSAL.fields)) & set(text_keys(held.records, REFUSAL.fields))


def test_a_family_that_learns_several_tasks_is_given_them(cell, write, rows, monkeypatch):
    from demur.experiment import _fit
    from demur.models.classical import ClassicalClassifier

    class Wide(ClassicalClassifier):
        wants_companions = True
        wants_valid = True
        seen: list[dict] = []  # noqa: RUF012

        def _fit(self, train, targets, valid):
            self.seen.append((train, valid, self.companions))
            super()._fit(train, targets, valid)

    monkeypatch.setattr(_fit, "resolve_spec", lambda spec: (Wide, Wide.config_type()))
    labelled = [
        row | {"jailbreak": "attack_failed" if number % 3 else "attack_succeeded"}
        for number, row in enumerate(rows(120))
    ]
    one = cell(tasks=("refusal", "jailbreak"), data=[{"path": str(write(labelled))}])
    _fit.fit_job(_fit.FitJob(one.spec, one.data, one.data.main, 7, one.work, one.others))
    ((train, valid, companions),) = Wide.seen
    held = {*one.data.records.take(one.data.main.test).texts("group"), *valid.texts("group")}
    held |= set(one.data.records.take(one.data.main.valid).texts("group"))
    assert len(companions["jailbreak"][1]) == len(train)
    assert not set(companions["jailbreak"][1].texts("group")) & held
