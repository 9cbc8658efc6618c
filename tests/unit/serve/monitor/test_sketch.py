import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DataError
from demur.serve.monitor._sketch import DIMENSION, pack_sketch, sketch_text, unpack_sketch

TEXTS = st.text(max_size=200)


@given(TEXTS)
def test_a_sketch_has_length_one_or_is_zero(text):
    found = sketch_text(text)
    assert found.shape == (DIMENSION,)
    length = np.linalg.norm(found)
    assert length == pytest.approx(1) or length == 0


@given(TEXTS)
def test_packing_keeps_a_sketch_nearly(text):
    found = sketch_text(text)
    back = unpack_sketch(pack_sketch(found))
    assert len(pack_sketch(found)) == 88
    assert np.abs(back - np.clip(found, -0.6, 0.6)).max() <= 0.0024


def test_the_sketch_of_a_text_stays_what_it_was():
    """Sketches are kept and compared with later ones: this one may never change under its name."""
    assert pack_sketch(sketch_text("How do I kill a process that hangs?")) == (
        "ANLl9+UkG9wk0hLJwO7u7vcSAPcSAOUA7gDJG9wJAC4AAAAbG+4SCSTu7uXJ7gDcEiQS7hIbABvl5e73CRLlCQ=="
    )


def test_case_and_white_space_do_not_matter():
    assert sketch_text("One  word\nand ANOTHER") == pytest.approx(sketch_text("one word and another"))


def test_likeness_follows_shared_words():
    text = "please tell me how long the eggs should boil if they are small and cold"
    near, far = text + " today", "the quarterly report lists every invoice that was paid before the deadline"
    assert sketch_text(text) @ sketch_text(near) > 0.9
    assert abs(sketch_text(text) @ sketch_text(far)) < 0.4


def test_angles_are_kept_to_within_a_random_error():
    """Unrelated texts are near right angles: their cosine is about 0 with a spread of 1 / sqrt(64)."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz "))
    rows = np.stack([sketch_text("".join(generator.choice(letters, 300))) for _ in range(120)])
    cosines = (rows @ rows.T)[np.triu_indices(120, 1)]
    assert np.std(cosines) == pytest.approx(0.125, abs=0.03)
    assert abs(np.mean(cosines)) < 0.1


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_text_is_zeros(text):
    assert (sketch_text(text) == 0).all()


@pytest.mark.parametrize("text", ["a", "ab", "\ud800 lone", "😀😀😀", "\x00\x00\x00", "日本語のテキスト"])
def test_any_text_has_a_sketch(text):
    assert np.isfinite(sketch_text(text)).all()


def test_the_rest_of_a_long_text_is_not_read():
    text = "all the same words again " * 160
    assert sketch_text(text + "and then something else entirely") == pytest.approx(sketch_text(text))


@pytest.mark.parametrize("packed", ["", "AAAA", "no base64 at all!", "é"])
def test_what_is_no_sketch_is_refused(packed):
    with pytest.raises(DataError, match="sketch is damaged"):
        unpack_sketch(packed)
