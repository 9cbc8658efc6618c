"""Rows of several tasks become one table, without a label that nobody gave."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records
from demur.models.dual._join import MISSING_LABEL, join_rows
from demur.tasks import JAILBREAK, REFUSAL

BOTH = ("prompt", "response")


def part(task: Any, *rows: tuple[str, str, str]) -> Any:
    listed = [{"prompt": prompt, "response": response, task.name: label} for prompt, response, label in rows]
    return task, Records.from_rows(listed)


def test_a_text_with_labels_of_both_tasks_is_one_row() -> None:
    joined = join_rows(
        [
            part(REFUSAL, ("a", "b", "no_refusal"), ("a", "c", "hard_refusal")),
            part(JAILBREAK, ("a", "c", "attack_failed"), ("d", "e", "attack_succeeded")),
        ],
        BOTH,
    )
    assert joined.records.texts("response") == ["b", "c", "e"]
    assert joined.targets.tolist() == [[0, MISSING_LABEL], [1, 0], [MISSING_LABEL, 1]]


def test_case_and_white_space_make_no_other_text_and_the_first_one_stays() -> None:
    joined = join_rows(
        [part(REFUSAL, ("A ", "b", "no_refusal")), part(JAILBREAK, ("a", "B", "attack_failed"))], BOTH
    )
    assert joined.records.texts("prompt") == ["A "]
    assert joined.targets.tolist() == [[0, 0]]


def test_only_the_texts_that_are_read_are_compared() -> None:
    parts = [part(REFUSAL, ("a", "b", "no_refusal")), part(JAILBREAK, ("other", "b", "attack_failed"))]
    assert len(join_rows(parts, BOTH)) == 2
    assert len(join_rows(parts, ("response",))) == 1


def test_contradictory_labels_are_no_label() -> None:
    joined = join_rows(
        [
            part(REFUSAL, ("a", "b", "no_refusal"), ("a", "b", "soft_refusal"), ("c", "d", "no_refusal")),
            part(JAILBREAK, ("a", "b", "attack_succeeded")),
        ],
        BOTH,
    )
    assert joined.targets.tolist() == [[MISSING_LABEL, 1], [0, MISSING_LABEL]]


def test_a_text_left_without_any_label_is_no_row() -> None:
    joined = join_rows(
        [part(REFUSAL, ("a", "b", "no_refusal"), ("a", "b", "soft_refusal"), ("c", "d", "no_refusal"))], BOTH
    )
    assert joined.records.texts("prompt") == ["c"]


def test_labels_stand_for_nothing_in_columns_of_other_tasks() -> None:
    task, records = part(JAILBREAK, ("a", "b", "attack_failed"))
    joined = join_rows(
        [
            part(REFUSAL, ("c", "d", "no_refusal")),
            (task, records.with_column("refusal", ["hard_refusal"])),
        ],
        BOTH,
    )
    assert joined.targets.tolist() == [[0, MISSING_LABEL], [MISSING_LABEL, 0]]
    assert "refusal" not in joined.records.frame.columns


texts = st.sampled_from(["a", "b", "c", "d"])
labelled = st.lists(st.tuples(texts, texts, st.sampled_from(REFUSAL.labels)), min_size=1, max_size=20)
attacks = st.lists(st.tuples(texts, texts, st.sampled_from(JAILBREAK.labels)), min_size=1, max_size=20)


@given(labelled, attacks)
def test_every_label_is_one_that_was_given_and_every_agreed_one_is_kept(
    refusals: list[tuple[str, str, str]], jailbreaks: list[tuple[str, str, str]]
) -> None:
    joined = join_rows([part(REFUSAL, *refusals), part(JAILBREAK, *jailbreaks)], BOTH)
    keys = list(zip(joined.records.texts("prompt"), joined.records.texts("response"), strict=True))
    assert len(set(keys)) == len(keys)
    for column, (task, given_rows) in enumerate([(REFUSAL, refusals), (JAILBREAK, jailbreaks)]):
        wanted: dict[Any, set[str]] = {}
        for prompt, response, label in given_rows:
            wanted.setdefault((prompt, response), set()).add(label)
        agreed = {key: task.label_id(next(iter(found))) for key, found in wanted.items() if len(found) == 1}
        kept = joined.targets[:, column] != MISSING_LABEL
        assert {keys[row]: int(joined.targets[row, column]) for row in np.flatnonzero(kept)} == agreed
