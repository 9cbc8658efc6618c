"""Subwords come from the texts alone, the same each time, and write every text."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.models.neural._vocabulary import SPECIALS, subword_texts, train_tokenizer
from demur.training import RowEncoder

TEXTS = ["I can’t help with that.", "Sorry, I can't help you.", "Sure! Here is how to help: boil the water."] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 320, lowercase=True)


def test_the_same_texts_give_the_same_tokenizer_in_another_process(tokenizer):
    code = (
        "import sys, json\nfrom demur.models.neural._vocabulary import train_tokenizer\n"
        "print(train_tokenizer(json.load(sys.stdin), 320, True).to_str())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == tokenizer.to_str()


def test_special_tokens_come_first_and_padding_is_0(tokenizer):
    assert [tokenizer.id_to_token(number) for number in range(3)] == list(SPECIALS)


@given(st.text(max_size=40))
def test_nothing_is_unknown_and_lower_case_comes_back(text):
    import unicodedata

    tokenizer = train_tokenizer(TEXTS[:1], 300, lowercase=False)
    found = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids)
    wanted = unicodedata.normalize("NFKC", text)
    for old, new in {"’": "'", "‘": "'", "“": '"', "”": '"'}.items():
        wanted = wanted.replace(old, new)
    assert found.removeprefix(" ") == wanted.removeprefix(" ")


def test_frequent_words_are_one_subword(tokenizer):
    assert tokenizer.encode("help", add_special_tokens=False).tokens == ["Ġhelp"]


def test_capitals_and_curly_quotes_read_like_plain_ones(tokenizer):
    assert tokenizer.encode("CAN’T “help”").ids == tokenizer.encode('can\'t "help"').ids


def test_capitals_can_be_kept():
    tokenizer = train_tokenizer(TEXTS, 320, lowercase=False)
    assert tokenizer.encode("HELP").ids != tokenizer.encode("help").ids


def test_no_more_subwords_than_asked_for(tokenizer):
    assert 259 < tokenizer.get_vocab_size() <= 320


def test_texts_too_few_for_a_pair_leave_the_bytes():
    assert train_tokenizer([], 320, lowercase=True).get_vocab_size() == 259


def test_a_row_has_its_border_and_its_segments(tokenizer):
    rows = RowEncoder(tokenizer).encode([["help"], ["sorry [SEP]"]])
    tokens = [tokenizer.id_to_token(number) for number in rows.ids[0]]
    assert tokens[:3] == ["[CLS]", "Ġhelp", "[SEP]"]
    assert tokens[-1] == "[SEP]"
    # A border typed into a text is text.
    assert tokens.count("[SEP]") == 2
    assert rows.types[0].tolist() == [0, 0, 0] + [1] * (len(tokens) - 3)


def test_subwords_say_what_they_stand_for(tokenizer):
    texts = subword_texts(tokenizer)
    assert len(texts) == tokenizer.get_vocab_size()
    assert texts[:3] == ["", "", ""]
    assert texts[tokenizer.token_to_id("Ġhelp")] == "help"
    assert texts[tokenizer.token_to_id("Ã")] == ""
