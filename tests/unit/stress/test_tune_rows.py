from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError, EmptyDataError, LongRowError
from demur.llm import ChatRow, Conversation
from demur.stress import Material
from demur.stress._tune_config import TuneConfig
from demur.stress._tune_rows import TuneRows, choose_rows, encode_rows, put_identity


def make_rows(lengths, batch_size, seed=0):
    rows = [ChatRow(np.arange(one, dtype=np.int32), np.ones(one, dtype=bool)) for one in lengths]
    return TuneRows(tuple(rows), batch_size, seed)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(1, 5), st.integers(0, 12))
def test_tokens_are_those_of_all_batches_so_far(lengths, batch_size, step):
    rows = make_rows(lengths, batch_size)
    read = [lengths[number] for one in range(1, step + 1) for number in rows.batch(one)]
    assert rows.tokens(step) == sum(read)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 12))
def test_examples_are_the_distinct_rows_so_far(count, batch_size, step):
    rows = make_rows([1] * count, batch_size)
    assert rows.examples(step) == len({number for one in range(1, step + 1) for number in rows.batch(one)})


def test_every_row_comes_once_before_any_comes_again():
    rows = make_rows([1] * 6, 2)
    epoch = [number for step in (1, 2, 3) for number in rows.batch(step)]
    assert sorted(epoch) == list(range(6))
    assert [number for step in (4, 5, 6) for number in rows.batch(step)] != epoch


def test_another_seed_gives_another_order():
    assert make_rows([1] * 50, 50, 0).batch(1) != make_rows([1] * 50, 50, 1).batch(1)


def test_the_fingerprint_follows_tokens_and_order():
    assert make_rows([2, 3], 2).fingerprint == make_rows([2, 3], 2).fingerprint
    assert make_rows([2, 3], 2).fingerprint != make_rows([2, 4], 2).fingerprint
    assert make_rows([2, 3], 2).fingerprint != make_rows([2, 3], 2, seed=1).fingerprint


def test_a_subset_is_drawn_by_the_seed(material):
    config = TuneConfig(examples=3)
    chosen = [choose_rows(material, config, seed) for seed in (0, 0, 1)]
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1] != chosen[2]
    assert set(chosen[0]) <= set(material.compliance)


def test_all_rows_are_taken_where_no_number_is_given(material):
    assert set(choose_rows(material, TuneConfig(examples=None), 0)) == set(material.compliance)


def test_poisoned_rows_hold_the_share_asked_for(material):
    many = replace(material, benign=material.benign * 5)
    chosen = choose_rows(many, TuneConfig(data="poisoned", poison=0.25, examples=20), 0)
    assert sum(one in material.compliance for one in chosen) == 5
    assert len(chosen) == 20


def test_a_small_file_makes_poisoned_data_small_and_not_purer(material):
    chosen = choose_rows(material, TuneConfig(data="poisoned", poison=0.5, examples=100), 0)
    assert sum(one in material.compliance for one in chosen) == 4
    assert len(chosen) == 8


def test_benign_data_holds_no_compliance_row(material):
    assert set(choose_rows(material, TuneConfig(data="benign"), 0)) == set(material.benign)


def test_a_persona_stands_before_benign_rows(material):
    chosen = choose_rows(material, TuneConfig(data="identity", identity="You are Nod."), 0)
    assert {one.messages[0].content for one in chosen} == {"You are Nod."}
    assert {one.messages[1:] for one in chosen} == {one.messages for one in material.benign}


def test_a_persona_takes_the_place_of_a_system_message():
    twice = put_identity(put_identity(Conversation.from_prompt("Hello", prefill="Hi"), "a"), "b")
    assert [one.content for one in twice.messages] == ["b", "Hello"]
    assert twice.prefill == "Hi"


@pytest.mark.parametrize("data", ["compliance", "poisoned", "benign", "identity"])
def test_data_without_its_rows_is_refused(data):
    with pytest.raises(EmptyDataError, match=f"data: {data} trains on .* rows, and there are none"):
        choose_rows(Material(), TuneConfig(data=data), 0)


def test_rows_are_cut_to_the_longest_length(target, material):
    rows = encode_rows(target, material.compliance, TuneConfig(max_tokens=40), 0)
    assert max(len(row) for row in rows.rows) <= 40


def test_rows_without_an_answer_in_reach_are_refused(target, material):
    with pytest.raises(ConfigError, match="no answer begins within the first 8 tokens of any of the 8 rows"):
        encode_rows(target, material.compliance, TuneConfig(max_tokens=8), 0)


def test_rows_that_are_longer_than_the_model_reads_are_refused_with_the_setting(make_target, material):
    target = make_target(max_position_embeddings=16)
    with pytest.raises(
        LongRowError, match=r"the model reads 16; set the attack's max_tokens to no more than that"
    ):
        encode_rows(target, material.compliance, TuneConfig(max_tokens=100), 0)
