from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from demur.config import parse_settings
from demur.metrics import DriftTest
from demur.serve.monitor._compare import (
    Finding,
    compare_operation,
    compare_rows,
    count_kinds,
    effect_of,
    judge_findings,
    thin_rows,
)
from demur.serve.monitor._config import CompareConfig
from demur.serve.monitor._frame import join_samples
from demur.tasks import PROMPT_RISK, REFUSAL

from .conftest import make_traffic

NAMES = {
    *("score_ks", "score_psi", "labels_chi2", "labels_js", "prompt_length_ks", "response_length_ks"),
    *("language_chi2", "inputs_mmd", "inputs_classifier"),
}


def settings(**values):
    return parse_settings(CompareConfig, {"permutations": 999, "refits": 99} | values)


def frame(n, first=0, **values):
    predictions, samples = make_traffic(n, first, **values)
    return join_samples(REFUSAL, predictions, {(one.request_id, one.item): one for one in samples})


def test_every_test_is_made_and_none_finds_anything_without_drift():
    found = compare_rows(REFUSAL, frame(300), frame(120, 2000), settings())
    assert {one.test.name for one in found} == NAMES
    judged = judge_findings(found, 0.05, {})
    assert judged.p_value > 0.05
    assert not any(one.is_drift for one in judged.findings)


def test_changed_traffic_is_found_by_scores_labels_and_inputs():
    found = judge_findings(
        compare_rows(REFUSAL, frame(300), frame(120, 1000, is_changed=True), settings()), 0.05, {}
    )
    drifted = {one.test.name for one in found.findings if one.is_drift}
    assert {"score_ks", "labels_chi2", "inputs_mmd", "inputs_classifier"} <= drifted
    assert found.p_value <= 0.005
    assert {one.family for one in found.findings} == {"input", "score", "label"}


def test_a_task_that_reads_prompts_alone_looks_at_no_response():
    found = compare_rows(PROMPT_RISK, frame(100), frame(100, 500), settings())
    assert "response_length_ks" not in {one.test.name for one in found}


def test_sketches_of_another_kind_are_not_compared():
    other = frame(120, 1000).with_columns(sketch=pl.lit("encoder-1:abc"))
    found = {one.test.name: one.test for one in compare_rows(REFUSAL, frame(300), other, settings())}
    assert "in another way" in found["inputs_mmd"].reason
    assert found["inputs_classifier"].p_value is None
    assert found["score_ks"].p_value is not None


def test_without_samples_the_other_tests_are_made():
    bare = frame(120, 1000).with_columns(sketch=pl.lit(None, pl.String), language=pl.lit(None, pl.String))
    found = judge_findings(compare_rows(REFUSAL, frame(300), bare, settings()), 0.05, {})
    assert {one.test.name for one in found.findings if one.p_adjusted is None} == {
        "inputs_mmd",
        "inputs_classifier",
        "language_chi2",
    }
    assert found.p_value is not None


def test_slower_answers_and_more_errors_are_a_family_of_their_own():
    slow = frame(120, 1000).with_columns(latency_ms=pl.col("latency_ms") * 3)
    shares = [0.0] * 40, [0.0, 0.3] * 10
    found = judge_findings(compare_operation(frame(300), slow, shares, 10), 0.05, {})
    assert {one.test.name for one in found.findings if one.is_drift} == {"latency", "errors"}
    assert found.p_value is None
    assert found.p_operation < 0.01


def test_validation_rows_have_no_latency_to_compare_with():
    found = compare_operation(
        frame(300).with_columns(latency_ms=pl.lit(None, pl.Float64)), frame(120), ([], []), 10
    )
    assert all(one.test.p_value is None for one in found)


def test_a_burst_counts_once():
    predictions, samples = make_traffic(100)
    burst = [sample.__class__(**{**as_dict(sample), **copy_of(samples[0])}) for sample in samples[:40]]
    joined = join_samples(
        REFUSAL, predictions, {(one.request_id, one.item): one for one in [*burst, *samples[40:]]}
    )
    kept, same = thin_rows(joined, frame(50, 1000), REFUSAL.fields, settings(unit="burst"), 0)
    assert len(kept) < 70
    assert len(same) == 50
    assert len(thin_rows(joined, joined, REFUSAL.fields, settings(unit="row"), 0)[0]) == 100


def test_a_flood_that_is_sampled_in_part_is_no_drift():
    """150 copies of one answer within a minute, of which every fourth was sampled, beside usual traffic."""
    usual, samples = make_traffic(100, 2000)
    (one,), (sample,) = make_traffic(1, 2050, is_changed=True)
    flood = [replace(one, id=f"f{n}", request_id=f"f{n}") for n in range(150)]
    sampled = [*samples, *(replace(sample, request_id=f"f{n}") for n in range(0, 150, 4))]
    window = join_samples(REFUSAL, [*usual, *flood], {(row.request_id, row.item): row for row in sampled})
    reference, kept = thin_rows(frame(300), window, REFUSAL.fields, settings(), 0)
    assert (len(reference), len(kept)) == (300, 101)
    assert judge_findings(compare_rows(REFUSAL, reference, kept, settings()), 0.05, {}).p_value > 0.05


def test_where_nothing_was_sampled_every_row_counts():
    predictions, _ = make_traffic(50)
    bare = join_samples(REFUSAL, predictions, {})
    assert [len(rows) for rows in thin_rows(bare, bare, REFUSAL.fields, settings(), 0)] == [50, 50]


@pytest.mark.parametrize("left", [1, 2, 5])
def test_a_window_that_few_rows_are_left_of_is_no_drift(left):
    found = judge_findings(compare_rows(REFUSAL, frame(300), frame(left, 1000), settings()), 0.05, {})
    assert found.p_value is None or found.p_value > 0.01


def as_dict(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def copy_of(row):
    return {"prompt": row.prompt, "response": row.response}


def test_a_subject_counts_once_and_the_reference_is_cut_to_the_window():
    subjects = [f"s{number % 20}" for number in range(300)]
    reference = frame(300).with_columns(subject=pl.Series(subjects))
    window = frame(100, 1000).with_columns(subject=pl.Series(subjects[:100]))
    kept, same = thin_rows(reference, window, REFUSAL.fields, settings(unit="subject"), 0)
    assert (len(kept), len(same)) == (20, 20)
    assert kept["at"].min() >= reference["at"][200]


def test_kinds_are_counted_on_both_sides():
    assert count_kinds(["a", None, "b"], ["c", "a"], ("b",)) == ([1, 1, 0], [0, 1, 1])


@pytest.mark.parametrize(
    ("name", "statistic", "facts", "effect"),
    [
        ("score_ks", 0.3, {}, 0.3),
        ("labels_chi2", 12.0, {"cramers_v": 0.2}, 0.2),
        ("inputs_mmd", -0.001, {}, 0.0),
        ("inputs_mmd", 0.04, {}, 0.2),
        ("inputs_classifier", 0.75, {}, 0.5),
        ("errors", None, {}, None),
    ],
)
def test_effects_start_at_zero(name, statistic, facts, effect):
    found = effect_of(DriftTest(name, statistic, None, 1, 1, facts=facts))
    assert found == (None if effect is None else pytest.approx(effect))


def test_a_finding_is_a_row_of_a_run():
    found = Finding("score", DriftTest("score_ks", 0.3, 0.01, 10, 10), 0.02, True).to_json()
    assert {"name", "statistic", "p_value", "p_adjusted", "effect", "is_drift", "family"} <= set(found)


@pytest.mark.slow
def test_windows_of_unchanged_traffic_signal_as_rarely_as_alpha():
    """Reference and window are drawn of one pool, 200 times, so that 5 % are 10."""
    pool, quick = frame(1500), settings()
    generator = np.random.default_rng(0)
    signals = 0
    for number in range(200):
        order = generator.permutation(len(pool))
        found = compare_rows(REFUSAL, pool[order[:150]], pool[order[150:230]], quick, seed=number)
        signals += judge_findings(found, 0.05, {}).p_value <= 0.05
    assert signals <= 17
