import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records, repair_texts
from demur.serve.pool import Texts, judged_field
from demur.serve.pool._texts import repair_text
from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL

ODD = ["\x1b[31mred\x1b[0m", "schÃ¶n", "a\r\nb\rc\n", "\ufeff x\u2003", "\x00\x07\x85", "\u00a0\u2028 y \x1f", ""]


@given(st.lists(st.text() | st.sampled_from(ODD), min_size=1, max_size=5).map(" ".join))
def test_texts_are_repaired_as_those_that_models_learned_from(text):
    expected = repair_texts(Records.from_rows([{"prompt": text}])).texts("prompt")
    assert [repair_text(text)] == expected


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_repaired_as_those_that_models_learned_from(text):
    assert [repair_text(text)] == repair_texts(Records.from_rows([{"prompt": text}])).texts("prompt")


def test_a_text_that_is_not_there_stays_so():
    assert Texts(prompt=" a ").repaired == ("a", None)


def test_the_response_is_judged_where_a_task_reads_it():
    assert [judged_field(task) for task in (REFUSAL, JAILBREAK, PROMPT_RISK)] == ["response", "response", "prompt"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(Texts("a", "b"), [True, True]), (Texts("a"), [False, True]), (Texts(response="b"), [True, False])],
)
def test_a_task_is_answered_where_its_text_is_there(texts, expected):
    assert [texts.answers(task) for task in (REFUSAL, PROMPT_RISK)] == expected


def test_an_empty_text_is_a_text():
    assert Texts(response="").answers(REFUSAL)


def test_the_length_is_that_of_both_texts():
    assert Texts("abc", "de").length == 5
    assert Texts().length == 0
