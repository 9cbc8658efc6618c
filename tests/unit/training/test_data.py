"""Batches hold every row once, stay within their budget, and depend on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.training import PadCollator, TokenDataset, TokenRows, pad_rows, plan_batches
from demur.training._data import EpochSampler

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=80).map(
    lambda values: np.array(values, dtype=np.int64)
)


def make_rows(*lengths: int) -> TokenRows:
    ids = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
    return TokenRows(ids, [np.ones_like(row) for row in ids])


@given(LENGTHS, st.integers(1, 9), st.integers(1, 100))
def test_planned_batches_hold_every_row_once_within_budget(lengths: np.ndarray, rows: int, tokens: int) -> None:
    batches = plan_batches(lengths, rows, tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens


@given(LENGTHS)
def test_planned_batches_go_from_long_to_short(lengths: np.ndarray) -> None:
    ordered = lengths[np.concatenate(plan_batches(lengths, 4, 1000))]
    assert (np.diff(ordered) <= 0).all()


def test_padding_fills_ids_with_the_pad_id_and_masks_it() -> None:
    padded = pad_rows(make_rows(1, 3), pad_id=9)
    assert padded["input_ids"].tolist() == [[1, 9, 9], [1, 2, 3]]
    assert padded["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert padded["token_type_ids"].tolist() == [[1, 0, 0], [1, 1, 1]]


def test_the_collator_gives_the_inputs_asked_for_and_labels() -> None:
    dataset = TokenDataset(make_rows(2, 1), np.array([1, 0]))
    batch = PadCollator(0, ["input_ids", "attention_mask"])([dataset[0], dataset[1]])
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert batch["labels"].tolist() == [1, 0]
    assert batch["input_ids"].tolist() == [[1, 2], [1, 0]]


def test_sorting_by_length_keeps_each_rows_target() -> None:
    dataset = TokenDataset(make_rows(1, 3, 2), np.array([10, 30, 20])).sorted_by_length()
    assert dataset.lengths.tolist() == [3, 2, 1]
    assert dataset.targets.tolist() == [30, 20, 10]


def test_a_width_pads_short_batches_and_cuts_no_row() -> None:
    assert pad_rows(make_rows(1, 3), 9, width=5)["input_ids"].tolist() == [[1, 9, 9, 9, 9], [1, 2, 3, 9, 9]]
    assert pad_rows(make_rows(1, 3), 9, width=2)["input_ids"].shape == (2, 3)


def test_labels_of_several_heads_and_a_teachers_probabilities_reach_the_batch() -> None:
    soft = np.array([[0.25, 0.75], [np.nan, np.nan]])
    dataset = TokenDataset(make_rows(1, 2), np.array([[1, -100], [0, 1]]), soft).sorted_by_length()
    batch = PadCollator(0, ["input_ids"])([dataset[0], dataset[1]])
    assert batch["labels"].tolist() == [[0, 1], [1, -100]]
    assert batch["soft"][1].tolist() == [0.25, 0.75]
    assert bool(batch["soft"][0].isnan().all())


def test_without_buckets_lengths_do_not_matter() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 203)
    order = list(EpochSampler(lengths, 4, seed=0, bucketed=False))
    assert sorted(order) == list(range(203))
    assert order == list(EpochSampler(lengths[::-1], 4, seed=0, bucketed=False))
    assert np.mean([np.ptp(lengths[order[at : at + 4]]) for at in range(0, 203, 4)]) > 50


@given(LENGTHS, st.integers(1, 8), st.integers(0, 5), st.integers(0, 5))
def test_an_epochs_order_is_a_permutation_fixed_by_seed_and_epoch(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> None:
    first, second = EpochSampler(lengths, batch_size, seed), EpochSampler(lengths, batch_size, seed)
    list(first)
    for sampler in (first, second):
        sampler.set_epoch(epoch)
    assert list(first) == list(second)
    assert sorted(first) == list(range(len(lengths)))


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        sampler = EpochSampler(np.arange(64), 4, seed)
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
    assert len(set(orders)) == 3


@pytest.mark.parametrize("batch_size", [4, 7])
def test_training_batches_hold_rows_of_similar_length(batch_size: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 203)
    order = list(EpochSampler(lengths, batch_size, seed=0))
    spreads = [np.ptp(lengths[order[at : at + batch_size]]) for at in range(0, len(order), batch_size)]
    assert np.mean(spreads) < 15
