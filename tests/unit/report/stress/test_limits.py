import json

import pytest

from demur.report.stress import StressView
from demur.report.stress._limits import limits


@pytest.fixture
def told(make_folder):
    """Limits of a folder whose words were changed: ``told(config={...}, curves=[...])``."""

    def tell(curves=None, data=None, **config):
        folder = make_folder(models=(("m", 1e8),), attacks=("direct",))
        about = json.loads((folder / "stress.json").read_text())
        about["config"] |= config
        about["data"] |= data or {}
        (folder / "stress.json").write_text(json.dumps(about))
        path = folder / "results/metrics/summary.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | ({"curves": curves} if curves else {})))
        return limits(StressView(folder))

    return tell


def judge(**calibration):
    return [{"kind": "classifier", "calibration": calibration}, {"kind": "keywords"}]


def test_the_limits_name_defence_seeds_size_judge_and_what_was_left_out(view):
    said = " ".join(limits(view))
    for words in (
        "not tamper-resistant",
        "at no cost",
        "(adaptive)",
        "3 seeds",
        "360 M parameters",
        "60 harmful prompts, fewer than 300: a share of one half is known to about 12 points",
        "The judge 'classifier' errs",
        "7 categories of prompts",
    ):
        assert words in said


def test_without_a_defence_nothing_is_said_of_one(make_folder):
    view = StressView(make_folder(defended=(False,), attacks=("direct",)))
    assert not any("tamper-resistant" in line or "adaptive" in line for line in limits(view))


def test_a_calibrated_judge_says_what_is_corrected_and_what_is_not(told):
    (line,) = [one for one in told(judges=judge(complied={}, refused={})) if "labelled by hand" in one]
    assert "for these rates: complied and refused" in line
    assert "C50, survival, the shares of outcomes" in line
    assert "is not corrected" not in line


def test_a_judge_checked_for_another_rate_leaves_the_headline_as_it_is(told):
    (line,) = [one for one in told(judges=judge(refused={})) if "labelled by hand" in one]
    assert "by which attacks are said to win, is not corrected" in line


@pytest.mark.parametrize(("most", "is_said"), [(64, True), (100, False)])
def test_short_answers_are_said_to_be_short(told, most, is_said):
    said = any("cut at 64 tokens" in line for line in told(generation={"max_new_tokens": most}))
    assert said == is_said


def test_many_prompts_are_enough(told):
    assert not any("fewer than 300" in line for line in told(data={"harmful": 300}))


def test_few_categories_are_said_once_for_all_curves(told):
    few = "{} categories of prompts: too few to say much of others"
    curves = [
        {"kind": kind, "n_clusters": n, "warnings": [few.format(n)]}
        for kind, n in (("harmful", 5), ("safe", 2), ("harmful", 5))
    ]
    found = [line for line in told(curves=curves) if "ategories" in line]
    assert len(found) == 1
    assert found[0].startswith("Few categories (5 of harmful prompts and 2 of safe prompts;")
    assert "With fewer than six" in found[0]
    assert found[0].endswith("C50 then has no interval.")


def test_c50_is_of_harmful_prompts_alone(told):
    curves = [{"kind": kind, "n_clusters": n, "warnings": []} for kind, n in (("harmful", 6), ("safe", 2))]
    (found,) = [line for line in told(curves=curves) if "ategories" in line]
    assert "With fewer than six" in found
    assert "C50" not in found


def test_a_run_that_ended_early_is_named_with_its_attack(told):
    ended = "seed 1 ended at step 8 (no): later steps are those of the other seeds"
    curves = [{"about": {"attack": "lora", "model": "m"}, "warnings": [ended, "3 seeds: look at each"]}]
    found = told(curves=curves)
    assert f"lora on m: {ended}." in found
    assert not any("look at each" in line for line in found)


def test_what_was_left_out_is_named_with_its_side_once(make_folder):
    gone = {"model": "m", "attack": "gcg", "status": "failed", "reason": "no memory was left"}
    rows = tuple(gone | {"seed": seed, "defended": "true"} for seed in (0, 1))
    off = {"model": "m", "attack": "revert", "status": "skipped", "reason": "it has no defence"}
    view = StressView(make_folder(models=(("m", 1e8),), attacks=("direct",), left_out=(*rows, gone, off)))
    assert [line for line in limits(view) if "left out" in line] == [
        "gcg on m with its defence was left out: no memory was left.",
        "gcg on m was left out: no memory was left.",
    ]
