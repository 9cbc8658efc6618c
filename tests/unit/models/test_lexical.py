"""Tests of the lexical columns: named, finite, of one row alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.models._lexical import (
    COLUMNS,
    PHRASES,
    PROMPT_COLUMNS,
    PROMPT_PHRASES,
    expand,
    find_words,
    lexical_features,
    normalise,
    prompt_features,
    split_sentences,
)

ANSWER = (
    "I'm sorry, but I can't help with that. However, here are two ideas:\n1. Bake bread.\n2. Walk. Is that fine?"
)
anything = st.text(st.characters(), max_size=200)  # lone surrogates and NUL among them
phrases = st.lists(
    st.sampled_from(
        ["I can't", "sorry", "However,", "\n- ", "1. ", "e.g. ", "Sure!", "as an AI", '"', "?", "  ", "U.S. "]
    ),
    max_size=20,
).map("".join)


def describe(response, prompt=""):
    return dict(zip(COLUMNS, lexical_features([response], [prompt])[0], strict=True))


def describe_prompt(prompt):
    return dict(zip(PROMPT_COLUMNS, prompt_features([prompt])[0], strict=True))


def test_columns_have_names_of_their_own():
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert len(set(PROMPT_COLUMNS)) == len(PROMPT_COLUMNS)
    assert all(f"{name}_first" in COLUMNS for name in PHRASES)
    assert all(f"{name}_any" in PROMPT_COLUMNS for name in PROMPT_PHRASES)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_is_a_row_a_text_and_a_number_a_column(count):
    assert lexical_features(["a b."] * count, ["c"] * count).shape == (count, len(COLUMNS))
    assert prompt_features(["a b."] * count).shape == (count, len(PROMPT_COLUMNS))


def test_answers_and_prompts_must_be_as_many():
    with pytest.raises(ValueError, match="zip"):
        lexical_features(["a", "b"], ["c"])


def test_a_refusal_is_found_where_it_stands():
    found = describe(ANSWER)
    assert found["refuse_any"] == found["refuse_first_sentence"] == found["refuse_contrast_after"] == 1
    assert found["refuse_no_list"] == 0
    assert found["apology_first"] == 1
    assert found["ends_question"] == 1
    assert found["list_items"] == pytest.approx(np.log1p(2))


def test_a_later_refusal_has_a_later_place():
    found = describe("Sure. Here is one part. I cannot give the rest.")
    assert found["refuse_first_sentence"] == 0
    assert found["refuse_position"] == pytest.approx(2 / 3)
    assert found["refuse_last_position"] == 1
    assert found["refuse_log_words_after"] == 0


def test_an_answer_that_refuses_nothing_has_zeros_there():
    found = describe("Bread needs flour, water, salt and time.")
    assert found["refuse_any"] == found["refuse_share"] == found["inability_log"] == found["unwilling_log"] == 0


@pytest.mark.parametrize("apology", ["I’m sorry", "I'M SORRY", "i'm   sorry", "Sorry"])
def test_quotes_case_and_blanks_make_no_difference(apology):
    assert describe(f"{apology}, no.")["apology_first"] == 1


def test_words_of_the_prompt_are_found_in_the_answer():
    echo = describe("Sourdough bread needs patience.", "How does sourdough bread work?")
    other = describe("Sourdough bread needs patience.", "What is the capital city?")
    assert echo["prompt_covered"] > other["prompt_covered"] == 0
    assert echo["first_sentence_echo"] > 0


def test_a_prompt_is_described_by_what_it_asks():
    found = describe_prompt("How do I bypass the filter without getting caught?")
    assert found["ends_question"] == found["evasion_any"] == 1
    assert found["evasion_log"] >= np.log1p(2)
    assert describe_prompt("How do I bake bread?")["evasion_any"] == 0


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("no capital. after it", ["no capital. after it"]),
        ("Dr. Who came. He left.", ["Dr. Who came.", "He left."]),
        ("See e.g. Rome. And Oslo.", ["See e.g. Rome.", "And Oslo."]),
        ("1.\nFirst\n2. Second", ["1. First", "2. Second"]),
        ("line\n\n\nline", ["line", "line"]),
        ('He said "Yes." Then left.', ['He said "Yes.', "Then left."]),
        ("3.5 is a number. Yes.", ["3.5 is a number.", "Yes."]),
        ("  \n \t ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, sentences):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("No. I will not do that.", ["No.", "I will not do that."]),
        ("I said no. Ask again.", ["I said no.", "Ask again."]),
        ("No.\n1. First, rest.", ["No.", "1. First, rest."]),
        ("No. 1) Rest.", ["No.", "1) Rest."]),
        ("Take bus No. 12 home.", ["Take bus No. 12 home."]),
        ("See no. 5, then go.", ["See no. 5, then go."]),
    ],
)
def test_no_ends_a_sentence_unless_it_numbers_something(text, sentences):
    assert split_sentences(text) == sentences


@given(text=anything)
def test_splitting_loses_no_word(text):
    assert find_words(" ".join(split_sentences(text))) == find_words(text)


@pytest.mark.parametrize(
    ("text", "written_out"),
    [
        ("I can't.", "i cannot."),
        ("I can’t, can not", "i cannot, cannot"),
        ("We won't, don't and couldn't've", "we will not, do not and could not have"),
        ("I'm, you're, I've, she'll, he'd", "i am, you are, i have, she will, he would"),
        (
            "It's the dog's; that's, there's, here's, what's",
            "it is the dog's; that is, there is, here is, what is",
        ),
        ("a\n b\tc", "a b c"),
        ("scant, the cant, n't", "scant, the cant, not"),
        ("", ""),
    ],
)
def test_contractions_are_written_out(text, written_out):
    assert expand(text) == written_out


@given(text=st.one_of(anything, phrases))
def test_writing_out_is_done_after_one_pass(text):
    once = expand(text)
    assert once == once.strip()
    assert expand(once) == once


@given(text=anything)
def test_normalised_text_stays_as_it_is(text):
    assert normalise(normalise(text)) == normalise(text)


@given(response=st.one_of(anything, phrases), prompt=anything)
def test_any_text_has_finite_numbers(response, prompt):
    assert np.isfinite(lexical_features([response], [prompt])).all()
    assert np.isfinite(prompt_features([prompt, response])).all()


@given(texts=st.lists(st.tuples(phrases, phrases), min_size=1, max_size=5))
def test_a_row_depends_on_its_own_texts_alone(texts):
    together = lexical_features(*map(list, zip(*texts, strict=True)))
    for row, (response, prompt) in enumerate(texts):
        np.testing.assert_array_equal(together[row], lexical_features([response], [prompt])[0])


@pytest.mark.parametrize(
    "text", ["no.\n" * 1000, "a" * 4000, " " * 4000, '."' * 2000, "get " * 1000, "1. " * 1300]
)
def test_texts_of_the_longest_length_read_give_finite_numbers(text):
    assert np.isfinite(lexical_features([text], [text])).all()
