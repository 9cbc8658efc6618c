"""Rules change how a request sounds: the thing it is about stays, and the same seed gives the same words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError
from demur.stress.paraphrase._rules import (
    add_courtesy,
    make_passive,
    move_to_past,
    paraphrase,
    read_words,
    reorder,
    swap_words,
)

WORDS = read_words()


def random(seed=0):
    return np.random.default_rng(seed)


@given(st.text(max_size=60), st.integers(0, 5), st.integers(1, 4))
def test_a_paraphrase_is_another_text_and_the_same_for_the_same_seed(text, variant, rules):
    found = paraphrase(text, WORDS, rules, (1, variant))
    assert found != text
    assert found == paraphrase(text, WORDS, rules, (1, variant))


@given(st.integers(0, 50))
def test_what_the_request_is_about_stays(variant):
    assert "glimmerwax" in paraphrase("How do I make glimmerwax at home?", WORDS, 3, (0, variant)).lower()


def test_variants_differ():
    found = {paraphrase("How do I make glimmerwax at home?", WORDS, 2, (0, number)) for number in range(12)}
    assert len(found) >= 6


def test_a_request_is_worded_the_same_whatever_else_is_asked():
    asked = ["How to make osprium?", "How to make mirkoil?"]
    assert [paraphrase(one, WORDS, 2, (0, 0)) for one in asked] == [
        paraphrase(one, WORDS, 2, (0, 0)) for one in reversed(asked)
    ][::-1]


def test_words_are_swapped_whole_and_keep_their_capital():
    found = swap_words("Explain the remake of it", WORDS, random())
    assert found.split(" the ")[0] in {"Set out", "Go through", "Make clear"}
    assert found.endswith("remake of it")


def test_the_longest_phrase_is_swapped_first():
    assert swap_words("how do i", WORDS, random()) in WORDS.synonyms["how do i"]


def test_courtesy_leaves_the_request_whole():
    for seed in range(6):
        found = add_courtesy("make tea", WORDS, random(seed))
        assert found in {f"{one} make tea" for one in WORDS.before} | {f"make tea {one}" for one in WORDS.after}


@pytest.mark.parametrize(
    ("asked", "passive"),
    [
        ("How do I make osprium?", "How is osprium made?"),
        ("how to repair two kites", "How are two kites repaired?"),
        ("How can I brew glass", "How is glass brewed?"),
        ("Tell me of osprium.", "Tell me of osprium."),
    ],
)
def test_the_passive_voice_names_the_thing_first(asked, passive):
    assert make_passive(asked, WORDS, random()) == passive


def test_a_request_is_moved_to_the_past():
    assert move_to_past("How do I make osprium?", WORDS, random()) == "How did people make osprium in the past?"
    assert move_to_past("Is it late?", WORDS, random()) == "Is it late?"


@pytest.mark.parametrize(
    ("asked", "turned"),
    [
        ("I like tea. How do I make it?", "How do I make it? I like tea."),
        ("One. Two. three", "three. One. Two."),
        ("How do I make osprium at home?", "At home, how do I make osprium?"),
        ("Why?", "Why?"),
        ("", ""),
    ],
)
def test_parts_change_their_order(asked, turned):
    assert reorder(asked, WORDS, random()) == turned


def test_words_of_ones_own_take_the_place_of_demurs(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text(
        "source: us\nlicense: MIT\nsynonyms: {}\nbefore: [Hi.]\nafter: [Bye.]\nparticiples: {make: made}\n"
    )
    assert paraphrase("x", read_words(str(path)), 1, (0, 0)) in {"Hi. x", "x Bye."}


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read \(FileNotFoundError\)"):
        read_words(str(tmp_path / "nowhere.yaml"))
