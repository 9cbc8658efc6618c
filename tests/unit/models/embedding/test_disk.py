"""Vectors on disk come back bit for bit, are worked out once, and their file holds no text."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.errors import StorageError, UsageError
from demur.models.embedding import _disk as module
from demur.models.embedding._disk import VectorFile


class Counter:
    """Gives a text its length and the sum of its letters, and counts what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        return np.array([[len(text), sum(map(ord, text)) / 7] for text in texts], dtype=np.float32).reshape(-1, 2)


@pytest.fixture
def kept(tmp_path):
    return VectorFile(str(tmp_path / "vectors"), "e" * 64, "mean 256")


def test_a_text_is_worked_out_once(kept):
    compute = Counter()
    first = kept.rows(["tea", "bread"], compute)
    second = kept.rows(["bread", "salt", "tea"], compute)
    np.testing.assert_array_equal(second, Counter()(["bread", "salt", "tea"]))
    np.testing.assert_array_equal(second[[2, 0]], first)
    assert compute.asked == [["bread", "tea"], ["salt"]]


@settings(max_examples=20)
@given(st.lists(st.text(max_size=8), max_size=12))
def test_what_comes_back_is_what_was_worked_out_in_the_order_asked(tmp_path_factory, texts):
    folder = str(tmp_path_factory.mktemp("any"))
    wanted = Counter()(texts)
    for _ in range(2):
        np.testing.assert_array_equal(VectorFile(folder, "e", "k").rows(texts, Counter()), wanted)


def test_a_killed_run_keeps_the_chunks_it_finished(kept, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    compute = Counter()

    def die(texts):
        if compute.asked:
            raise KeyboardInterrupt
        return compute(texts)

    with pytest.raises(KeyboardInterrupt):
        kept.rows(["a", "bb", "ccc", "dddd"], die)
    after = Counter()
    kept.rows(["a", "bb", "ccc", "dddd"], after)
    assert after.asked == [["bb", "a"]]


def test_kinds_and_encoders_are_kept_apart(kept, tmp_path):
    kept.rows(["tea"], Counter())
    for encoder, kind in (("e" * 64, "max 256"), ("f" * 64, "mean 256")):
        compute = Counter()
        VectorFile(str(tmp_path / "vectors"), encoder, kind).rows(["tea"], compute)
        assert compute.asked == [["tea"]]


def test_the_file_holds_no_text(kept):
    kept.rows(["a very private sentence"], Counter())
    data = kept.path.read_bytes()
    assert b"private" not in data
    assert b"sentence" not in data


def test_no_texts_touch_no_file_of_vectors(kept):
    assert kept.rows([], Counter()).shape == (0, 2)


def test_user_is_the_user_s_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    assert VectorFile("user", "e" * 64, "k").path == tmp_path / "vectors" / ("e" * 32 + ".sqlite")


def test_two_writers_at_once_do_no_harm(kept):
    texts = [f"text {number}" for number in range(60)]
    threads = [threading.Thread(target=kept.rows, args=(texts[start:], Counter())) for start in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compute = Counter()
    np.testing.assert_array_equal(kept.rows(texts, compute), Counter()(texts))
    assert compute.asked == []


def test_a_file_of_another_kind_is_refused_with_the_remedy(kept):
    kept.path.parent.mkdir()
    kept.path.write_text("no database " * 100)
    with pytest.raises(UsageError, match=r"is no file of vectors .*delete it, or set cache: null"):
        kept.rows(["tea"], Counter())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"cannot be made .*give another one in cache"):
        VectorFile(str(tmp_path / "file"), "e", "k").rows(["tea"], Counter())


def test_a_database_that_cannot_be_opened_is_named(kept):
    kept.path.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot be read or written .*give another folder in cache"):
        kept.rows(["tea"], Counter())
