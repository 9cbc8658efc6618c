"""Tests of what thresholds do on new rows: by hand, by plain loops, and by how they are read from a folder."""

import json

import numpy as np
import pytest

from demur.errors import ArtifactError
from demur.metrics import Bootstrap, Estimate
from demur.models import (
    Conformal,
    ConformalConfig,
    OperatingPoint,
    OperatingPoints,
    Thresholds,
    check_ready,
    fit_conformal,
    fit_operating_points,
)
from demur.tasks import REFUSAL

DRAWS = Bootstrap(draws=200, seed=3)
NO_DRAWS = Bootstrap(draws=0)


def sample(seed, n=300):
    """Rows whose labels have the very frequencies that their probabilities say."""
    generator = np.random.default_rng(seed)
    p = generator.dirichlet([0.5, 0.5, 0.5], size=n)
    y = (generator.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(max=2)
    return y, p


def thresholds(rates=(0.1,), **options):
    y, p = sample(0)
    config = ConformalConfig(**{"alpha": 0.2} | options)
    groups = np.arange(len(y))
    return Thresholds(
        fit_operating_points(REFUSAL, y, p, groups, rates, NO_DRAWS),
        fit_conformal(REFUSAL, y, p, groups, config),
    )


def uneven(n):
    """Groups of very unequal size, numbered with gaps."""
    return 7 * np.minimum(np.arange(n) // 3, 40)


def test_a_rate_and_recall_are_those_of_the_flagged_rows():
    y, p = sample(1)
    made = thresholds()
    found = check_ready(made, y, p, uneven(len(y)), DRAWS)["operating"][0]
    flagged = made.operating.flag(p, "fpr_10")
    threat = np.isin(y, made.operating.threat)
    assert found["false_positive_rate"]["value"] == pytest.approx(flagged[~threat].mean())
    assert found["recall"]["value"] == pytest.approx(flagged[threat].mean())
    assert (found["negatives"], found["positives"]) == ((~threat).sum(), threat.sum())
    assert found["recall"]["low"] < found["recall"]["value"] < found["recall"]["high"]


@pytest.mark.parametrize("unit", ["group", "row"])
def test_coverage_counts_what_the_promise_counts(unit):
    y, p = sample(2)
    made, groups = thresholds(unit=unit), uneven(len(y))
    found = check_ready(made, y, p, groups, NO_DRAWS)["conformal"]
    held = [made.conformal.sets(p)[at, label] for at, label in enumerate(y)]
    held = np.array(held, dtype=float)
    by_group = [held[groups == group].mean() for group in np.unique(groups)]
    assert found["coverage"]["value"] == pytest.approx(np.mean(by_group if unit == "group" else held))


def test_wrong_when_sure_is_of_the_sure_alone():
    y, p = sample(3)
    made = thresholds(unit="row")
    found = check_ready(made, y, p, np.arange(len(y)), NO_DRAWS)["conformal"]
    unsure, wrong = made.conformal.unsure(p), p.argmax(axis=1) != y
    assert found["unsure"]["value"] == pytest.approx(unsure.mean())
    assert found["wrong_when_sure"]["value"] == pytest.approx(wrong[~unsure].mean())
    assert found["wrong_when_sure"]["n"] == (~unsure).sum()


def test_a_promise_for_each_class_is_measured_for_each():
    y, p = sample(4)
    y[y == 2] = 1
    made = thresholds(by_class=True)
    found = check_ready(made, y, p, np.arange(len(y)), NO_DRAWS)["conformal"]["coverage_by_class"]
    held = made.conformal.sets(p)[np.arange(len(y)), y]
    assert list(found) == list(REFUSAL.labels)
    for number in (0, 1):
        assert found[REFUSAL.labels[number]]["value"] == pytest.approx(held[y == number].mean())
    assert found[REFUSAL.labels[2]] == {
        **dict.fromkeys(("value", "low", "high")),
        "n": 0,
        "reason": "no row of this class",
    }


def test_whole_groups_are_drawn_so_copies_of_rows_leave_intervals_alone():
    y, p = sample(5, n=120)
    made = thresholds(unit="row")
    once = check_ready(made, y, p, np.arange(120), DRAWS)
    thrice = check_ready(made, y.repeat(3), p.repeat(3, axis=0), np.arange(120).repeat(3), DRAWS)
    for one, other in ((once["conformal"], thrice["conformal"]), (once["operating"][0], thrice["operating"][0])):
        for name in ("coverage", "recall"):
            if name in one:
                assert (one[name]["low"], one[name]["high"]) == pytest.approx(
                    (other[name]["low"], other[name]["high"])
                )


def test_coverage_falls_short_for_the_best_of_many_and_new_rows_show_it():
    """The reason for measuring: choosing on the rows that set the threshold breaks its promise a little."""
    generator, n, alpha = np.random.default_rng(0), 100, 0.1
    covered = {1: [], 20: []}
    for _ in range(60):
        for many, found in covered.items():
            p = generator.beta(3, 1, size=(many, n, 1))  # probability of the true label
            p = np.concatenate([p, 1 - p, np.zeros_like(p)], axis=2)
            y = np.zeros(n, dtype=int)
            best = p[(p.argmax(axis=2) == 0).mean(axis=1).argmax()]
            config = ConformalConfig(alpha=alpha)
            made = Thresholds(None, fit_conformal(REFUSAL, y, best, np.arange(n), config))
            fresh = generator.beta(3, 1, size=(2000, 1))
            fresh = np.concatenate([fresh, 1 - fresh, np.zeros_like(fresh)], axis=1)
            checked = check_ready(made, np.zeros(2000, dtype=int), fresh, np.arange(2000), NO_DRAWS)
            found.append(checked["conformal"]["coverage"]["value"])
    assert np.mean(covered[1]) > 0.89
    assert 0.84 < np.mean(covered[20]) < 0.88


def test_a_point_without_a_threshold_says_why():
    y, p = sample(6, n=30)
    found = check_ready(thresholds(rates=(0.001,)), y, p, np.arange(30), DRAWS)["operating"][0]
    assert found["recall"]["value"] is None
    assert "takes at least 999 rows" in found["recall"]["reason"]


def test_rows_without_a_threat_have_no_recall():
    y, p = sample(7)
    kept = y == 0
    found = check_ready(thresholds(), y[kept], p[kept], np.arange(kept.sum()), DRAWS)["operating"][0]
    assert found["recall"]["value"] is None
    assert found["false_positive_rate"]["value"] is not None


def test_nothing_to_measure_gives_nothing():
    y, p = sample(8, n=20)
    found = check_ready(Thresholds(), y, p, np.arange(20) // 2)
    assert found == {"rows": 20, "groups": 10, "operating": [], "conformal": None}


def test_thresholds_are_read_from_a_folder_without_the_classifier(tmp_path):
    made = thresholds(by_class=True)
    (tmp_path / "operating.json").write_text(json.dumps(made.operating.to_json()))
    assert Thresholds.load(tmp_path) == Thresholds(made.operating, None)
    (tmp_path / "conformal.json").write_text(json.dumps(made.conformal.to_json()))
    assert Thresholds.load(tmp_path) == made
    assert Thresholds.load(tmp_path / "elsewhere") == Thresholds()


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "conformal.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"conformal\.json is no JSON"):
        Thresholds.load(tmp_path)


def test_it_is_strict_json():
    y, p = sample(9, n=40)
    point = OperatingPoint("fpr_50", 0.5, *[Estimate(0.5, None, None, 9, None)] * 3, 9, 9)
    made = Thresholds(
        OperatingPoints((1, 2), (point,)),
        Conformal(ConformalConfig(), REFUSAL.labels, (np.inf, 0.5, 0.5), (1, 40, 40)),
    )
    found = check_ready(made, y, p, np.arange(40), DRAWS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
