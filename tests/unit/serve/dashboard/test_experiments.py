from dataclasses import replace

import pytest

from demur.serve.dashboard._experiments import view_experiments
from demur.serve.experiments import DifferenceView


def difference(low, high, **values):
    given = {"arm": "new", "metric": "accuracy", "is_better_high": True, "is_paired": False, "level": 0.95}
    given |= {
        "estimate": (low + high) / 2,
        "low": low,
        "high": high,
        "e_value": 30.0,
        "p_value": 0.0333,
        "n": 1234,
    }
    given |= {"is_consistent": True} | values
    return DifferenceView(**({"confirmed_low": given["low"], "confirmed_high": given["high"]} | given))


def contrast_of(filled, **values):
    running = filled.experiments[0].model_copy(update={"differences": [difference(**values)]})
    ((part,), _) = view_experiments(replace(filled, experiments=[running]))
    return part.contrasts[0]


def test_those_under_way_stand_apart_from_those_that_ended(filled):
    (part,), (ended,) = view_experiments(filled)
    assert (part.name, part.stage) == ("DeBERTa with LoRA", "running: arms answer their share")
    assert [arm.name for arm in part.arms] == ["champion", "lora"]
    assert sum(int(arm.rows) for arm in part.arms) == 260
    assert all(arm.between and arm.share == "50 %" for arm in part.arms)
    assert (ended.name, ended.stage) == ("naive Bayes again", "stopped")
    assert "points" in ended.result


def test_a_clear_difference_is_said_and_drawn(filled):
    ((part,), _) = view_experiments(filled)
    (contrast,) = part.contrasts
    assert (contrast.sentence, contrast.mood) == ("lora is better than the champion.", "good")
    assert float(contrast.box.start) > 50
    assert "with 95 % or more" in contrast.evidence
    assert {guard.is_breached for guard in part.guards} == {False}


@pytest.mark.parametrize(
    ("values", "mood", "words"),
    [
        ({"low": -0.2, "high": 0.1}, "watch", "Not known yet"),
        ({"low": 0.02, "high": 0.1}, "good", "new is better"),
        ({"low": -0.2, "high": -0.1}, "bad", "new is worse"),
        ({"low": 0.02, "high": 0.1, "is_better_high": False}, "bad", "new is worse"),
        ({"low": -0.2, "high": -0.1, "is_better_high": False}, "good", "new is better"),
        ({"low": 0.2, "high": 0.1, "is_consistent": False}, "watch", "not the same throughout"),
    ],
)
def test_the_sentence_follows_the_interval(filled, values, mood, words):
    contrast = contrast_of(filled, **values)
    assert contrast.mood == mood
    assert words in contrast.sentence


def test_units_are_those_of_the_metric(filled):
    assert contrast_of(filled, low=-0.021, high=0.045).words == "+1.2 points (−2.1 points to +4.5 points)"
    found = contrast_of(filled, low=-3.0, high=12.0, metric="latency_ms", estimate=None, is_paired=True)
    assert found.words == "— (−3.0 ms to +12.0 ms)"
    assert found.evidence.endswith("e-value 30, always-valid p 0.033, 1\u202f234 pairs")


def test_one_that_cannot_be_read_is_named_with_the_reason(filled):
    broken = filled.experiments[0].model_copy(
        update={"arms": [], "differences": [], "guards": [], "problem": "another version wrote it"}
    )
    (part,), _ = view_experiments(replace(filled, experiments=[broken]))
    assert part.problem == "another version wrote it"
    _, (ended,) = view_experiments(replace(filled, experiments=[broken.model_copy(update={"stage": "stopped"})]))
    assert ended.result == "another version wrote it"


def test_a_difference_that_one_key_makes_is_said_to_be_unconfirmed(filled):
    found = contrast_of(filled, low=0.1, high=0.3, confirmed_low=-0.2, confirmed_high=0.4)
    assert (found.mood, found.sentence) == (
        "watch",
        "Not confirmed: without the feedback of one key, new less champion may be 0.",
    )
    assert "Moves go by \N{MINUS SIGN}20.0 points to +40.0 points, which holds also without" in found.evidence
    assert "Moves go by" not in contrast_of(filled, low=0.1, high=0.3).evidence
