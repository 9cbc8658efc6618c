import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, RegistryError
from demur.serve.monitor._config import JudgeConfig
from demur.serve.monitor._judges import ClassifierJudge, Judge, JudgedText, judge_texts, make_judge
from demur.tasks import JAILBREAK, REFUSAL

ROWS = [
    JudgedText("How?", text) for text in ("I cannot help with that.", "Here it is.", "bad", "Sure, here you go.")
]


def free(rows):
    """A budget without end."""
    return rows


class Keyword:
    """Judges by one word; falls over a row that says bad."""

    name = "keyword"

    def judge(self, task, rows):
        if any(row.response == "bad" for row in rows):
            raise ArithmeticError("a telltale text")
        return ["hard_refusal" if "cannot" in row.response else "no_refusal" for row in rows]


def test_a_judge_of_the_protocol_is_one():
    assert isinstance(Keyword(), Judge)
    assert isinstance(ClassifierJudge, type)


def test_a_row_that_brings_the_judge_down_is_unscored_and_the_others_are_judged():
    found = judge_texts(Keyword(), REFUSAL, ROWS, free)
    assert [one.label for one in found] == ["hard_refusal", "no_refusal", None, "no_refusal"]
    assert found[2].reason == "the judge ended with ArithmeticError"


@pytest.mark.parametrize(("label", "reason"), [(None, "abstained"), ("maybe", "no label of the task")])
def test_no_label_is_unscored(label, reason):
    class Other:
        name = "other"

        def judge(self, task, rows):
            return [label] * len(rows)

    (found,) = judge_texts(Other(), REFUSAL, ROWS[:1], free)
    assert found.label is None
    assert reason in found.reason


def test_a_judge_that_gives_too_few_labels_is_refused():
    class Lazy:
        name = "lazy"

        def judge(self, task, rows):
            return []

    with pytest.raises(ConfigError, match="gave 0 labels for 4 rows"):
        judge_texts(Lazy(), REFUSAL, ROWS, free)


@pytest.mark.parametrize(("budget", "judged"), [(0, 0), (1, 1), (3, 2), (100, 3)])
def test_each_row_is_charged_as_often_as_it_is_given(budget, judged):
    class Paid(Keyword):
        given = 0

        def judge(self, task, rows):
            self.given += len(rows)
            return super().judge(task, rows)

    judge, left = Paid(), budget

    def charge(wanted):
        nonlocal left
        taken = min(wanted, left)
        left -= taken
        return taken

    found = judge_texts(judge, REFUSAL, ROWS, charge)
    assert judge.given == len(ROWS) + budget - left
    assert len(found) == len(ROWS)
    assert sum(one.label is not None for one in found) == judged


def test_what_a_judge_that_cannot_work_did_not_take_is_given_back():
    class Broken:
        name = "broken"

        def judge(self, task, rows):
            raise ConfigError("no such model; give one")

    charged = []
    with pytest.raises(ConfigError, match="no such model"):
        judge_texts(Broken(), REFUSAL, ROWS, charged.append)
    assert charged == [-len(ROWS)]


def test_no_rows_need_no_judge():
    assert judge_texts(Keyword(), REFUSAL, [], free) == []


def test_a_saved_classifier_judges(rules_folder):
    judge = make_judge(parse_settings(JudgeConfig, {"kind": "classifier", "model": str(rules_folder)}))
    assert judge.name == "classifier rules"
    assert [one.label for one in judge_texts(judge, REFUSAL, ROWS[:2], free)] == ["hard_refusal", "no_refusal"]


def test_a_classifier_of_another_task_is_no_judge(rules_folder):
    with pytest.raises(ConfigError, match="whose labels are not those"):
        judge_texts(ClassifierJudge(rules_folder), JAILBREAK, ROWS, free)


def test_people_are_no_program():
    assert make_judge(JudgeConfig()) is None


def test_a_judge_that_nobody_registered_is_refused():
    with pytest.raises(RegistryError, match="no judge is called 'oracle'"):
        make_judge(parse_settings(JudgeConfig, {"kind": "plugin", "name": "oracle"}))
