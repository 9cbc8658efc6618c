"""Which tasks are learned along, what is said of the others, and that no watched text is trained on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records, SplitConfig, text_keys
from demur.errors import ConfigError
from demur.models.dual import DualConfig
from demur.models.dual._companions import choose_companions, split_companions
from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL, Task

BOTH = ("prompt", "response")
TONE = Task(name="tone", labels=("calm", "stern"))


def rows(task: Any, groups: Iterable[str | None]) -> Records:
    listed = [
        {
            "prompt": f"{task.name} {group} {number}",
            "response": "x",
            "group": group,
            task.name: task.labels[number % len(task.labels)],
        }
        for number, group in enumerate(groups)
    ]
    return Records.from_rows(listed)


def given_tasks(*tasks: Any) -> dict[str, tuple[Task, Records]]:
    return {task.name: (task, rows(task, "abcdef")) for task in tasks}


def names(task: Any, config: DualConfig, companions: Any) -> list[str]:
    return [other.name for other, _ in choose_companions(task, config, companions)]


def test_every_task_that_reads_the_same_is_learned_by_default() -> None:
    assert names(REFUSAL, DualConfig(), given_tasks(TONE, JAILBREAK, PROMPT_RISK)) == ["jailbreak", "tone"]


def test_a_list_of_tasks_is_kept_to() -> None:
    config = DualConfig(tasks=("refusal", "jailbreak"))
    assert names(REFUSAL, config, given_tasks(TONE, JAILBREAK)) == ["jailbreak"]
    assert names(JAILBREAK, config, given_tasks(TONE, REFUSAL)) == ["refusal"]


def test_its_own_task_is_no_companion() -> None:
    assert names(REFUSAL, DualConfig(), given_tasks(REFUSAL, JAILBREAK)) == ["jailbreak"]


def test_only_labelled_rows_of_a_companion_are_taken() -> None:
    records = rows(JAILBREAK, "abcd").with_column("jailbreak", ["attack_failed", None, None, "attack_succeeded"])
    ((_, found),) = choose_companions(REFUSAL, DualConfig(), {"jailbreak": (JAILBREAK, records)})
    assert found.texts("group") == ["a", "d"]


def test_no_companion_is_told_in_words() -> None:
    with pytest.warns(UserWarning, match="'refusal' is learned alone.* that reads prompt and response; put one"):
        assert names(REFUSAL, DualConfig(), given_tasks(PROMPT_RISK)) == []


def test_a_named_task_without_rows_is_told_with_the_near_name() -> None:
    with pytest.warns(UserWarning, match="'jailbrek' was to be learned.*did you mean 'jailbreak'.*learned alone"):
        names(REFUSAL, DualConfig(tasks=("jailbrek",)), given_tasks(JAILBREAK))


def test_a_companion_of_one_class_is_left_out_with_the_reason() -> None:
    records = rows(JAILBREAK, "abcd").with_column("jailbreak", ["attack_failed"] * 4)
    with pytest.warns(
        UserWarning, match="'jailbreak' is not learned with 'refusal': its 4 training rows have one"
    ):
        assert names(REFUSAL, DualConfig(), {"jailbreak": (JAILBREAK, records)}) == []


@pytest.mark.parametrize("column", [None, "somewhere else"])
def test_a_companion_without_labels_is_left_out_with_the_reason(column: str | None) -> None:
    records = rows(TONE, "abcd")
    companions = {"jailbreak": (JAILBREAK, records.with_column("jailbreak", [column] * 4) if column else records)}
    with pytest.warns(UserWarning, match="'jailbreak' is not learned with 'refusal': "):
        assert names(REFUSAL, DualConfig(), companions) == []


def test_a_named_task_that_reads_other_texts_is_refused() -> None:
    with pytest.raises(ConfigError, match="'prompt_risk' reads prompt, 'refusal' reads prompt and response"):
        names(REFUSAL, DualConfig(tasks=("prompt_risk",)), given_tasks(PROMPT_RISK))


def test_fields_make_tasks_go_together() -> None:
    assert names(REFUSAL, DualConfig(fields=("prompt",)), given_tasks(PROMPT_RISK)) == ["prompt_risk"]


def test_a_weight_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="task_weights names 'jailbraek', which is no task here"):
        names(REFUSAL, DualConfig(task_weights={"jailbraek": 2.0}), given_tasks(JAILBREAK))


def split(companions: Any, train: Records, valid: Records, share: float = 0.2) -> Any:
    return split_companions(companions, train, valid, SplitConfig(test=share, valid=0, seed=3), BOTH)


def test_rows_go_where_their_group_is() -> None:
    ((train, watched),) = split(
        [(JAILBREAK, rows(JAILBREAK, "aabbcc"))], rows(REFUSAL, "ac"), rows(REFUSAL, "b"), share=0.3
    )
    assert set(train[1].texts("group")) == {"a", "c"}
    assert set(watched[1].texts("group")) == {"b"}


def test_rows_of_groups_of_their_own_are_set_aside_in_the_wanted_share() -> None:
    groups = [f"own {number // 2}" for number in range(100)]
    ((train, watched),) = split([(JAILBREAK, rows(JAILBREAK, groups))], rows(REFUSAL, "ac"), rows(REFUSAL, "b"))
    assert len(watched[1]) == 20
    assert not set(train[1].texts("group")) & set(watched[1].texts("group"))


def test_a_text_that_is_watched_is_not_trained_on_though_its_group_has_another_name() -> None:
    valid = rows(REFUSAL, "b")
    same = rows(JAILBREAK, "vwxyz").with_column("prompt", [valid.texts("prompt")[0], "1", "2", "3", "4"])
    ((train, watched),) = split([(JAILBREAK, same)], rows(REFUSAL, "ac").take([1]), valid)
    assert valid.texts("prompt")[0] in watched[1].texts("prompt")
    assert valid.texts("prompt")[0] not in train[1].texts("prompt")


def test_nothing_to_set_aside_leaves_all_rows_to_train_on() -> None:
    ((train, watched),) = split([(JAILBREAK, rows(JAILBREAK, "aaaa"))], rows(REFUSAL, "a"), rows(REFUSAL, "b"))
    assert len(train[1]) == 4
    assert len(watched[1]) == 0


names_of_groups = st.lists(st.sampled_from([*"abcdefgh", None]), min_size=4, max_size=30)


@given(names_of_groups, names_of_groups, st.integers(1, 6))
def test_no_group_is_on_both_sides_of_any_two_tasks(
    first: list[str | None], second: list[str | None], border: int
) -> None:
    train, valid = rows(REFUSAL, "abcdef"[:border]), rows(REFUSAL, "abcdefg"[border:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = split([(JAILBREAK, rows(JAILBREAK, first)), (TONE, rows(TONE, second))], train, valid)
    assert sum(len(one[1]) + len(other[1]) for one, other in found) == len(first) + len(second)
    trained = Records.concat([train, *(one[1] for one, _ in found)])
    watched = Records.concat([valid, *(other[1] for _, other in found)])

    def named(records: Records) -> set[str]:
        return set(records.frame.get_column("group").drop_nulls().to_list())

    assert not named(trained) & named(watched)
    assert not set(text_keys(trained)) & set(text_keys(watched))
