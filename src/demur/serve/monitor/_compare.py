"""The comparison of a window with its reference: which tests, of which rows, and what they say together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from demur.metrics import (
    DriftTest,
    Permutations,
    adjust_fdr,
    block_test,
    chi_square_test,
    classifier_test,
    combine_simes,
    find_bursts,
    jensen_shannon_test,
    kolmogorov_smirnov_test,
    mmd_test,
    pick_one_of_each,
    stability_of_values,
)
from demur.serve.monitor._config import CompareConfig
from demur.serve.monitor._frame import seconds_of, vectors_of
from demur.tasks import Task

Family = Literal["input", "score", "label", "operation"]
_DRIFT: tuple[Family, ...] = ("input", "score", "label")
_NO_SAMPLES = "inputs were not sampled, or in another way than those of the reference"


@dataclass(frozen=True)
class Finding:
    """One test, and what it is worth among the others of its window."""

    family: Family
    test: DriftTest
    p_adjusted: float | None = None
    is_drift: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a row of a drift run has it."""
        return self.test.to_json() | {
            "family": self.family,
            "effect": effect_of(self.test),
            "p_adjusted": self.p_adjusted,
            "is_drift": self.is_drift,
        }


@dataclass(frozen=True)
class Comparison:
    """All tests of a window."""

    findings: tuple[Finding, ...]
    p_value: float | None
    """Of "inputs, scores and labels are as they were", over all tests."""
    p_operation: float | None
    """Of "latency and errors are no worse"."""
    facts: Mapping[str, Any]


def compare_rows(
    task: Task, reference: pl.DataFrame, window: pl.DataFrame, config: CompareConfig, seed: int = 0
) -> list[Finding]:
    """Every test of inputs, scores and labels, not adjusted yet.

    Parameters
    ----------
    reference, window
        Rows that count as independent; see :func:`thin_rows`.
    seed
        Of permutations and draws.
    """
    often = Permutations(most=config.permutations, seed=seed)
    before, now = (frame["threat_score"].to_numpy() for frame in (reference, window))
    labels = count_kinds(reference["label"].to_list(), window["label"].to_list(), task.labels)
    found: list[tuple[Family, DriftTest]] = [
        ("score", kolmogorov_smirnov_test("score_ks", before, now)),
        ("score", stability_of_values("score_psi", before, now, config.bins, often)),
        ("label", chi_square_test("labels_chi2", *labels, often)),
        ("label", jensen_shannon_test("labels_js", *labels, often)),
    ]
    for field in task.fields:
        lengths = [frame[f"{field}_chars"].to_numpy() for frame in (reference, window)]
        found.append(("input", kolmogorov_smirnov_test(f"{field}_length_ks", *lengths)))
    found += [("input", test) for test in _test_inputs(task, reference, window, config, often)]
    return [Finding(family, test) for family, test in found]


def compare_operation(
    reference: pl.DataFrame, window: pl.DataFrame, errors: tuple[Sequence[float], Sequence[float]], block: int
) -> list[Finding]:
    """Tests of whether latency and errors are worse.

    Parameters
    ----------
    reference, window
        Rows in order of time, all of them.
    errors
        Shares of failed requests in short times, of the reference and of now.
    block
        Neighbouring rows whose latency is averaged.
    """
    before, now = (frame["latency_ms"].drop_nulls().to_numpy() for frame in (reference, window))
    tests = [block_test("latency", before, now, block), block_test("errors", errors[0], errors[1], 1)]
    return [Finding("operation", test) for test in tests]


def judge_findings(findings: Sequence[Finding], alpha: float, facts: Mapping[str, Any]) -> Comparison:
    """Adjust p-values for the number of tests: drift in one family of tests, operation in another."""
    judged: list[Finding] = []
    joint: dict[bool, float | None] = {}
    for is_operation in (False, True):
        family = [one for one in findings if (one.family == "operation") is is_operation]
        values = [one.test.p_value for one in family]
        joint[is_operation] = combine_simes(values)
        judged += [
            Finding(one.family, one.test, adjusted, adjusted is not None and adjusted <= alpha)
            for one, adjusted in zip(family, adjust_fdr(values), strict=True)
        ]
    return Comparison(tuple(judged), joint[False], joint[True], facts)


def thin_rows(
    reference: pl.DataFrame, window: pl.DataFrame, fields: Sequence[str], config: CompareConfig, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of both that count as independent.

    Of bursts, only rows whose input was sampled are taken, if any was: of others nobody can say what they repeat,
    and a flood has more of them than there are samples a second.

    Of subjects, the newest as many rows of the reference as the window has are taken first: over a longer time
    more rows of busy subjects would go, and the two would differ without any drift.
    """
    if config.unit == "row":
        return reference, window
    if config.unit == "subject":
        reference = reference.tail(len(window))
        picked = [pick_one_of_each(frame["subject"].to_list(), seed) for frame in (reference, window)]
    else:
        picked = [_pick_bursts(frame, fields, config.burst_s, seed) for frame in (reference, window)]
    return reference[picked[0]], window[picked[1]]


def count_kinds(
    reference: Sequence[str | None], window: Sequence[str | None], kinds: Sequence[str] = ()
) -> tuple[list[int], list[int]]:
    """Counts of both by kind, the given kinds first; rows without a kind are not counted."""
    first, second = Counter(reference), Counter(window)
    listed = list(dict.fromkeys([*kinds, *sorted(one for one in first | second if one is not None)]))
    return [first[one] for one in listed], [second[one] for one in listed]


def effect_of(test: DriftTest) -> float | None:
    """Size of a change on a scale from 0: a distance, Cramér's V, or how far an area is above a half, doubled."""
    if test.statistic is None:
        return None
    if "cramers_v" in test.facts:
        return float(test.facts["cramers_v"])
    if test.name.endswith("mmd"):
        return math.sqrt(max(0.0, test.statistic))
    if test.name.endswith("classifier"):
        return max(0.0, 2 * test.statistic - 1)
    return test.statistic


def _test_inputs(
    task: Task, reference: pl.DataFrame, window: pl.DataFrame, config: CompareConfig, often: Permutations
) -> list[DriftTest]:
    languages = count_kinds(reference["language"].to_list(), window["language"].to_list())
    kinds = [set(frame["sketch"].drop_nulls().to_list()) for frame in (reference, window)]
    first, second = (frame.filter(pl.col("sketch").is_not_null()) for frame in (reference, window))
    tests = [chi_square_test("language_chi2", *languages, often)]
    if not kinds[1] or len(kinds[0] | kinds[1]) > 1:
        names, sizes = ("inputs_mmd", "inputs_classifier"), (len(first), len(second))
        return [*tests, *(DriftTest(name, None, None, *sizes, reason=_NO_SAMPLES) for name in names)]
    ours, theirs = vectors_of(first, task.fields), vectors_of(second, task.fields)
    tests.append(mmd_test("inputs_mmd", ours, theirs, often))
    few = Permutations(most=config.refits, seed=often.seed)
    lengths = [
        np.log1p(frame.select(f"{field}_chars" for field in task.fields).to_numpy()) for frame in (first, second)
    ]
    before, now = (np.concatenate(pair, axis=1) for pair in zip((ours, theirs), lengths, strict=True))
    return [*tests, classifier_test("inputs_classifier", before, now, few)]


def _pick_bursts(frame: pl.DataFrame, fields: Sequence[str], within_s: float, seed: int) -> np.ndarray[Any, Any]:
    times = seconds_of(frame)
    if times is None:  # validation rows have no times, and were cleaned of duplicates
        return np.arange(len(frame))
    sampled = np.flatnonzero(frame["sketch"].is_not_null().to_numpy())
    if not len(sampled):  # sampling is off
        return np.arange(len(frame))
    bursts = find_bursts(vectors_of(frame[sampled], fields), times[sampled], within_s)
    return np.asarray(sampled[pick_one_of_each(bursts, seed)])
