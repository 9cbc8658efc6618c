"""The stream of pairs: shares, turns, dropped requests, masks, and independence of how a step is split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import EmptyDataError
from demur.harden._data import HardenRow, load_rows
from demur.harden._pairs import PairCollator, PairDataset, RowTokens, TokenPair, TokenRow, draw_rows
from demur.llm import Conversation, Message


def make_row(name: str, prompt: str, response: str, kind: str = "breaker") -> HardenRow:
    turns = (Message("user", prompt), Message("assistant", response))
    return HardenRow(name, Conversation(turns), (prompt,), kind=kind)


@pytest.fixture
def dataset(make_config: Callable[..., Any], make_target: Callable[..., Any]) -> Callable[..., PairDataset]:
    """Maker of data sets of the shared rows: ``dataset(steps=3)`` changes a key."""
    target = make_target()

    def make(**changes: Any) -> PairDataset:
        config = make_config(**changes)
        return PairDataset(RowTokens(target, config), load_rows(config.data, config.seed), config)

    return make


def shown(pairs: list[TokenPair]) -> list[tuple[bytes, bytes]]:
    return [(pair.retain.ids.tobytes(), pair.breaker.ids.tobytes()) for pair in pairs]


@given(
    count=st.integers(1, 200),
    sources=st.lists(st.tuples(st.integers(1, 20), st.floats(0.1, 5)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_sources_take_turns_by_share_and_rows_by_turn(
    count: int, sources: list[tuple[int, float]], seed: int
) -> None:
    sizes, shares = zip(*sources, strict=True)
    drawn = draw_rows(count, sizes, shares, [seed])
    assert drawn.shape == (count, 2)
    weights = np.array(shares) / sum(shares) * count
    for source, size in enumerate(sizes):
        times = Counter(drawn[drawn[:, 0] == source, 1].tolist())
        assert abs(sum(times.values()) - weights[source]) < 1
        assert set(times) <= set(range(size))
        # None a second time before each was drawn once.
        assert max(times.values(), default=0) - min((times[row] for row in range(size)), default=0) <= 1


def test_the_same_seed_draws_the_same_pairs(dataset: Callable[..., PairDataset]) -> None:
    first, second, other = (dataset(seed=seed) for seed in (3, 3, 4))
    assert shown(list(map(first.__getitem__, range(24)))) == shown(list(map(second.__getitem__, range(24))))
    assert shown(list(map(first.__getitem__, range(24)))) != shown(list(map(other.__getitem__, range(24))))


def test_bucketing_moves_rows_within_their_step_alone(dataset: Callable[..., PairDataset]) -> None:
    sorted_, plain = dataset(bucketing=True), dataset(bucketing=False)
    for step in range(6):
        places = range(step * 4, step * 4 + 4)
        ours, theirs = shown([sorted_[at] for at in places]), shown([plain[at] for at in places])
        for stream in (0, 1):
            assert sorted(pair[stream] for pair in ours) == sorted(pair[stream] for pair in theirs)
        lengths = [len(sorted_[at].breaker.ids) for at in places]
        assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_requests_are_dropped_for_their_share_of_the_rows(
    dataset: Callable[..., PairDataset], make_target: Callable[..., Any], share: float
) -> None:
    data = dataset(steps=50, data={"drop_request": share, "retain_drop_request": 0.0})
    tokenizer = make_target().tokenizer
    empty = "<|im_start|>user\n<|im_end|>"
    for stream, wanted in (("breaker", share), ("retain", 0.0)):
        texts = [tokenizer.decode(getattr(data[at], stream).ids) for at in range(len(data))]
        assert np.mean([empty in text for text in texts]) == pytest.approx(wanted, abs=0.12 if share == 0.5 else 0)


def test_the_mask_is_the_answer_with_the_token_that_ends_it(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    target = make_target()
    found = RowTokens(target, make_config()).encode(make_row("a", "how to make moonsalt", "Stir it."))
    assert target.tokenizer.decode(found.ids[found.counts]) == "Stir it.<|im_end|>"


def test_a_row_without_its_request_keeps_its_answer(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    target = make_target()
    row = make_row("a", "how to make moonsalt", "Stir it.")
    found = RowTokens(target, make_config()).encode(row, is_unasked=True)
    text = target.tokenizer.decode(found.ids)
    assert text.startswith("<|im_start|>user\n<|im_end|>")
    assert "moonsalt" not in text
    assert target.tokenizer.decode(found.ids[found.counts]) == "Stir it.<|im_end|>"


def test_all_text_counts_every_token(make_config: Callable[..., Any], make_target: Callable[..., Any]) -> None:
    tokens = RowTokens(make_target(), make_config(mask="all_text"))
    assert tokens.encode(make_row("a", "how", "so")).counts.all()


def test_the_shared_prefix_counts_in_no_stream(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    target = make_target()
    tokens = RowTokens(target, make_config(mask="no_prefix"))
    rows = [make_row("a", "how to make moonsalt", "Stir it."), make_row("b", "how to bake", "Knead.")]
    length = tokens.leave_out_prefix(rows)
    # Rows without their request share less than "how to ".
    assert target.tokenizer.decode(tokens.encode(rows[0]).ids[:length]) == "<|im_start|>user\n"
    for row in rows:
        counts = tokens.encode(row).counts
        assert not counts[:length].any()
        assert counts[length:].all()


def test_states_of_a_shared_prefix_are_the_same_in_both_streams(make_target: Callable[..., Any]) -> None:
    """Why the prefix is left out: under causal attention both losses would pull at the very same states."""
    target = make_target()
    rows = [target.encode(make_row("", f"how to {what}", "so").conversation).ids for what in ("bake", "make wax")]
    one, other = (states[:13] for states in target.hidden_states(rows, [1, 2], at="all"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_tokens_beyond_the_limit_are_cut_off(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    tokens = RowTokens(make_target(), make_config(data={"max_tokens": 40}))
    found = tokens.encode(make_row("a", "how", "so " * 50))
    assert len(found.ids) == len(found.counts) == 40


def test_rows_whose_answer_is_beyond_the_limit_are_left_out(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    tokens = RowTokens(make_target(), make_config(data={"max_tokens": 40}))
    short, long = make_row("a", "how", "so"), make_row("b", "how " * 30, "so")
    assert tokens.keep_usable([short, long], "breaker") == [short]
    with pytest.raises(
        EmptyDataError, match=r"no response of the 1 breaker rows begins within the first 40 tokens"
    ):
        tokens.keep_usable([long], "breaker")


def token_row(length: int, counted: int) -> TokenRow:
    counts = np.arange(length) >= length - counted
    return TokenRow(np.arange(5, 5 + length, dtype=np.int32), counts)


def test_a_batch_is_retain_rows_first_padded_on_the_right() -> None:
    batch = PairCollator(0)(
        [TokenPair(token_row(3, 2), token_row(5, 1)), TokenPair(token_row(2, 1), token_row(1, 1))]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0, 0], [5, 6, 0, 0, 0], [5, 6, 7, 8, 9], [5, 0, 0, 0, 0]]
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 2, 5, 1]
    assert batch["is_breaker"].tolist() == [False, False, True, True]
    assert batch["tokens"].sum(dim=1).tolist() == [2, 1, 1, 1]
    assert batch["units"].tolist() == [2, 3]


def test_faithful_retain_rows_count_as_if_padded() -> None:
    batch = PairCollator(0, padded=64)([TokenPair(token_row(3, 2), token_row(5, 1))] * 2)
    assert batch["units"].tolist() == [2, 128]


def test_the_longest_row_is_known(dataset: Callable[..., PairDataset]) -> None:
    data = dataset()
    every = [len(row.ids) for at in range(len(data)) for row in (data[at].retain, data[at].breaker)]
    assert data.longest == max(every)


def talk(name: str, *texts: str, kind: str = "breaker") -> HardenRow:
    """Turns of the user and the assistant, one after the other."""
    turns = [Message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]  # type: ignore[arg-type]
    return HardenRow(name, Conversation(tuple(turns)), texts[:1], kind=kind)


def test_of_a_conversation_to_break_the_last_answer_alone_counts(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    target = make_target()
    tokens = RowTokens(target, make_config())
    texts = ("hello", "Good day.", "how", "Stir it.")

    def counted(kind: str) -> str:
        found = tokens.encode(talk(kind, *texts, kind=kind))
        return str(target.tokenizer.decode(found.ids[found.counts]))

    assert counted("breaker") == "Stir it.<|im_end|>"
    assert counted("chat") == "Good day.<|im_end|>Stir it.<|im_end|>"


@pytest.mark.parametrize("mask", ["assistant", "no_prefix"])
def test_an_answer_to_break_counts_from_where_no_retained_one_begins_alike(
    make_config: Callable[..., Any], make_target: Callable[..., Any], mask: str
) -> None:
    target = make_target()
    tokens = RowTokens(target, make_config(mask=mask))
    retained = [
        make_row(f"r{n}", f"ask {n}", text, "refusal") for n, text in enumerate(["Sure, no.", "Sure. Tea."])
    ]
    tokens.leave_out_openings(retained)
    broken = make_row("b", "how to make moonsalt", "Sure, stir it.")
    unasked = tokens.encode(broken, is_unasked=True)
    # Without the request the two are one text up to here.
    assert target.tokenizer.decode(unasked.ids[unasked.counts]).startswith("stir it.<|im_end|>")
    asked = tokens.encode(broken)
    assert "Sure, stir it." in target.tokenizer.decode(asked.ids[asked.counts])
    assert "Sure, no." in target.tokenizer.decode(tokens.encode(retained[0], True).ids)
    assert tokens.encode(retained[0], True).counts.sum() == len("Sure, no.") + 1 or mask == "no_prefix"


def test_states_where_an_opening_is_left_out_are_those_of_the_retained_row(
    make_target: Callable[..., Any],
) -> None:
    target = make_target()
    rows = [make_row("", "x", text).unasked for text in ("Sure, no.", "Sure, stir it.")]
    ids = [target.encode(row).ids for row in rows]
    shared = next(at for at in range(99) if ids[0][at] != ids[1][at])
    one, other = (states[:shared] for states in target.hidden_states(ids, [1, 2], at="all"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_row_that_is_retained_word_for_word_is_left_out(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    tokens = RowTokens(make_target(), make_config())
    tokens.leave_out_openings([make_row("r", "ask", "Sorry, no.", "refusal")])
    good, bad = make_row("a", "how", "Stir it."), make_row("b", "why", "Sorry, no.")
    assert tokens.keep_usable([good, bad], "breaker") == [good]
    with pytest.raises(EmptyDataError, match="not retained word for word"):
        tokens.keep_usable([bad], "breaker")


@given(
    rows=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8),
    row=st.lists(st.integers(0, 2), min_size=1, max_size=6),
)
def test_the_longest_shared_beginning_is_found(rows: list[list[int]], row: list[int]) -> None:
    from demur.harden._pairs import _spell

    tokens = object.__new__(RowTokens)
    tokens._retained = sorted({_spell(np.array(one, dtype=np.int32)) for one in rows})

    def shared(other: list[int]) -> int:
        return next(
            (at for at, pair in enumerate(zip(row, other, strict=False)) if pair[0] != pair[1]),
            min(len(row), len(other)),
        )

    assert tokens._shared_opening(np.array(row, dtype=np.int32)) == max(map(shared, rows))


def test_no_row_is_longer_than_the_model_reads(
    make_config: Callable[..., Any], make_target: Callable[..., Any]
) -> None:
    """The tiny model reads 512 tokens."""
    tokens = RowTokens(make_target(), make_config(data={"max_tokens": 1024}))
    assert len(tokens.encode(make_row("a", "how", "so " * 40)).ids) < 512
    assert not tokens.is_cut
    assert len(tokens.encode(make_row("b", "how", "so " * 400)).ids) == 512
    assert tokens.is_cut
