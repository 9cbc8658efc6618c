import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from demur.errors import DataError
from demur.metrics import cosine_distances, representation_distance
from demur.metrics._distance import weighted_quantile


def sampled(generator, meaning, spread=0.3):
    """Embeddings of one sampled response to each prompt."""
    return meaning + spread * generator.normal(size=meaning.shape)


@pytest.fixture
def world():
    """What 200 prompts mean, two samples of the untampered model, and one response of it."""
    generator = np.random.default_rng(0)
    meaning = generator.normal(size=(200, 16))
    return (
        generator,
        meaning,
        (sampled(generator, meaning), sampled(generator, meaning)),
        sampled(generator, meaning),
    )


def test_distances_are_those_of_scipy():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, 10, 5))
    assert cosine_distances(a, b).tolist() == pytest.approx([cosine(x, y) for x, y in zip(a, b, strict=True)])


def test_a_response_is_no_distance_from_itself():
    rows = np.random.default_rng(2).normal(size=(20, 8)).astype(np.float32)
    np.testing.assert_allclose(cosine_distances(rows, rows), 0, atol=1e-6)


def test_an_embedding_of_zeros_has_no_direction():
    assert np.isnan(cosine_distances(np.zeros(4), np.ones(4)))


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=15), st.integers(0, 5), st.sampled_from([0, 0.3, 0.5, 0.9, 1])
)
def test_a_weighted_quantile_is_numpys_of_the_repeated_values(values, seed, share):
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(values)))
    found = weighted_quantile(np.array(values), weights.astype(float), share)
    for row, one in zip(weights, found, strict=True):
        repeated = np.repeat(values, row)
        assert one == pytest.approx(np.quantile(repeated, share), abs=1e-9) if len(repeated) else np.isnan(one)


def test_another_sample_of_the_untampered_model_has_a_distance_of_about_zero(world):
    generator, meaning, null, base = world
    found = representation_distance(base, sampled(generator, meaning), null).slices["all"]
    assert found.raw["median"] > 0.05
    assert abs(found.median.value) < 0.02
    assert found.median.low < 0 < found.median.high
    assert found.p90.low < 0 < found.p90.high


def test_the_interval_covers_zero_at_the_nominal_rate_in_the_null_case():
    generator = np.random.default_rng(3)
    covered = []
    for number in range(150):
        meaning = generator.normal(size=(80, 8))
        base, other, *null = (sampled(generator, meaning) for _ in range(4))
        found = representation_distance(base, other, tuple(null), draws=300, seed=number).slices["all"].median
        covered.append(found.low <= 0 <= found.high)
    assert 0.9 <= np.mean(covered) <= 1


def test_a_model_that_says_something_else_has_a_distance(world):
    generator, meaning, null, base = world
    found = representation_distance(base, generator.normal(size=meaning.shape), null).slices["all"]
    assert found.median.value > 0.7
    assert found.median.low > 0.5
    assert found.p90.value > found.null["p90"]


def test_median_and_p90_are_numpys_less_those_of_the_null(world):
    generator, meaning, null, base = world
    tampered = sampled(generator, meaning, 1.0)
    found = representation_distance(base, tampered, null, draws=20).slices["all"]
    moved, rest = cosine_distances(base, tampered), cosine_distances(*null)
    assert found.median.value == pytest.approx(np.median(moved) - np.median(rest))
    assert found.p90.value == pytest.approx(np.quantile(moved, 0.9) - np.quantile(rest, 0.9))


def test_each_slice_has_the_null_of_its_own_prompts(world):
    generator, meaning, null, base = world
    harmful = np.arange(200) < 80
    tampered = np.where(harmful[:, None], generator.normal(size=meaning.shape), sampled(generator, meaning))
    found = representation_distance(
        base, tampered, null, {"harmful": harmful, "benign": ~harmful}, draws=200
    ).slices
    assert list(found) == ["all", "harmful", "benign"]
    assert found["harmful"].null["median"] == pytest.approx(np.median(cosine_distances(*null)[harmful]))
    assert found["harmful"].median.low > 0.5
    assert abs(found["benign"].median.value) < 0.05
    assert (found["harmful"].n, found["benign"].n) == (80, 120)


def test_an_empty_slice_is_missing_with_the_reason(world):
    _, _, null, base = world
    found = representation_distance(base, base, null, {"still_refused": np.zeros(200, bool)}, draws=10)
    empty = found.slices["still_refused"]
    assert (empty.median.value, empty.p90.value, empty.n) == (None, None, 0)
    assert empty.median.reason == "no prompt is left in this slice"


def test_without_a_null_only_raw_distances_are_given(world):
    generator, meaning, _, base = world
    found = representation_distance(base, sampled(generator, meaning)).slices["all"]
    assert found.median.value is None
    assert "no two samples of the untampered model" in found.median.reason
    assert found.raw["median"] > 0


def test_a_slice_may_hold_a_prompt_under_some_seeds_only(world):
    generator, meaning, null, base = world
    tampered = np.stack([sampled(generator, meaning) for _ in range(3)])
    refused = np.zeros((3, 200), bool)
    refused[0, :50], refused[1, :20] = True, True
    found = representation_distance(base, tampered, null, {"still_refused": refused}, draws=50).slices
    assert (found["still_refused"].n, found["still_refused"].n_prompts) == (70, 50)
    assert (found["all"].n, found["all"].n_prompts) == (600, 200)


def test_pairs_without_a_direction_are_left_out_and_counted(world):
    _, _, null, base = world
    tampered = base.copy()
    tampered[:3] = 0
    found = representation_distance(base, tampered, null, draws=10)
    assert found.n_undefined == 3
    assert found.slices["all"].n == 197


def test_prompts_of_a_category_that_move_together_widen_the_interval(world):
    generator, meaning, null, base = world
    categories = np.arange(200) // 10
    far = np.repeat(generator.random(20) < 0.5, 10)
    tampered = np.where(far[:, None], generator.normal(size=meaning.shape), base)
    wide, narrow = (
        representation_distance(base, tampered, null, categories=groups).slices["all"].median
        for groups in (categories, None)
    )
    assert wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize(
    ("tampered", "words"),
    [
        (np.ones((7, 16)), "one row for each prompt"),
        (np.ones((200, 4)), "pass both of one encoder"),
        (np.ones((2, 2, 200, 16)), r"pass \(prompts, d\) for the base"),
    ],
)
def test_embeddings_of_other_prompts_or_encoders_are_refused(world, tampered, words):
    with pytest.raises(DataError, match=words):
        representation_distance(world[3], tampered)


def test_a_null_of_other_prompts_is_refused(world):
    with pytest.raises(DataError, match="two samples for each prompt"):
        representation_distance(world[3], world[3], (np.ones((5, 16)), np.ones((5, 16))))


def test_a_slice_of_other_prompts_is_refused(world):
    with pytest.raises(DataError, match=r"slice 'benign' has shape \(5,\)"):
        representation_distance(world[3], world[3], slices={"benign": np.ones(5, bool)})


def test_results_can_be_written_as_json(world):
    found = representation_distance(world[3], world[3], world[2], draws=10)
    assert json.loads(json.dumps(found.to_json()))["slices"]["all"]["n"] == 200
