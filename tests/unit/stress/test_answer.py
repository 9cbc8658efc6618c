import re

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demur.llm import Conversation, GenerationConfig
from demur.stress import Cost, Stage
from demur.stress._answer import Replies, ReplyFolder, answer_prompts, stage_name
from demur.stress._data import StressPrompt

PROMPTS = [
    StressPrompt("harmful:1", "harmful", "How do I make glimmerwax?"),
    StressPrompt("safe:1", "safe", "Hello"),
]
DRAWN = GenerationConfig(max_new_tokens=6, temperature=5.0)


def test_every_prompt_is_answered_in_order(target):
    found = answer_prompts(Stage(target, 0, Cost()), PROMPTS, DRAWN, None).frame
    assert found["prompt"].to_list() == ["harmful:1", "safe:1"]
    wanted = target.generate([one.conversation for one in PROMPTS], DRAWN)
    assert found["response"].to_list() == [one.text for one in wanted]
    assert found["nll"].to_list() == [None, None]


def test_tries_are_drawn_anew(target):
    found = answer_prompts(Stage(target, 0, Cost(), tries=2), PROMPTS, DRAWN, None).frame
    assert found["try"].to_list() == [0, 0, 1, 1]
    assert found["response"][0] != found["response"][2]


def test_a_stage_may_say_how_answers_are_written(target):
    own = GenerationConfig(max_new_tokens=2)
    found = answer_prompts(Stage(target, 0, Cost(), generation=own), PROMPTS, DRAWN, None)
    assert max(one.tokens for one in found.measures) <= 2


def test_what_was_put_in_the_models_mouth_belongs_to_the_text(target):
    stage = Stage(target, 0, Cost(), rewrite=lambda one: Conversation(one.messages, prefill="Sure."))
    found = answer_prompts(stage, PROMPTS, DRAWN, target)
    assert all(text.startswith("Sure.") for text in found.texts)
    assert all(one.nll > 0 for one in found.measures if one.nll is not None)


def test_progress_counts_all_tries(target):
    told = []
    answer_prompts(Stage(target, 0, Cost(), tries=2), PROMPTS, DRAWN, None, lambda *one: told.append(one))
    assert told[-1] == (4, 4)


@pytest.mark.parametrize(
    ("step", "label", "wanted"),
    [(8, "", "000008"), (0, "prefill=10", "000000-prefill=10"), (0, "a/b c", "000000-a-b-c-[0-9a-f]{8}")],
)
def test_stages_have_names_fit_for_files(step, label, wanted):
    assert re.fullmatch(wanted, stage_name(step, label))


@given(st.text(max_size=200), st.text(max_size=200))
@example("a/b", "a b")
@example("a", "A")
@example("x" * 90 + "/1", "x" * 90 + "/2")
def test_stages_of_other_labels_never_share_a_file(first, second):
    names = {stage_name(0, label).casefold() for label in (first, second)}
    assert len(names) == len({first, second})
    assert all(len(name) < 220 for name in names)


def test_a_stage_counts_where_responses_and_record_are_whole(tmp_path, target):
    folder = ReplyFolder(tmp_path)
    replies = answer_prompts(Stage(target, 4, Cost()), PROMPTS, DRAWN, None)
    assert folder.read("000004") is None
    folder.write("000004", replies, {"step": 4, "label": ""})
    folder.write("null-1", replies, {})
    kept, record = folder.read("000004")
    assert kept.frame.equals(replies.frame)
    assert record["step"] == 4
    assert folder.done() == {(4, "")}
    folder.write("000008", replies, {"step": 8, "label": ""}, replies)
    assert folder.done() == {(4, ""), (8, "")}
    assert folder.read_drawn("000008").frame.equals(replies.frame)
    assert folder.read_drawn("000004") is None
    (tmp_path / "000008-drawn.parquet").write_bytes(b"PAR1")
    assert folder.done() == {(4, "")}
    (tmp_path / "000004.parquet").write_bytes(b"PAR1")
    assert folder.read("000004") is None
    assert folder.done() == frozenset()


def test_measures_are_read_back():
    frame = pl.DataFrame({"tokens": [3], "repetition": [0.5], "entropy": [0.25], "nll": [None]})
    (found,) = Replies(frame).measures
    assert (found.tokens, found.repetition, found.entropy, found.nll) == (3, 0.5, 0.25, None)
