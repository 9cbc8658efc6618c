import json

import pytest

from demur.report.stress import StressView
from demur.report.stress import _story as story
from demur.report.stress._cells import Cost
from demur.report.stress._choose import standings


def test_costs_are_named_and_nothing_is_nothing():
    assert story.cost_words(Cost()) == "next to nothing"
    assert story.cost_words(Cost(2e12, 5000, 40, 3, 12.0)) == (
        "2.0e12 operations, 5\u202f000 trained parameters, 40 examples, 3 answers a prompt, 12 s"
    )


@pytest.mark.parametrize(("value", "words"), [(None, "—"), (0.123, "12 %"), (1.0, "100 %")])
def test_shares_are_percentages(value, words):
    assert story.percent(value) == words


def test_an_attack_says_what_it_does_and_a_strange_one_says_nothing():
    assert story.attack_title("direct") == "The model is asked as it is."
    assert story.attack_title("somebody-elses") == ""


def test_attacks_that_win_are_named_and_controls_are_not(view):
    found = story.verdicts(view)
    assert [one["name"] for one in found["wins"]] == ["lora on smol-135m", "lora on smol-360m"]
    assert "hardened model complied with 9" in found["wins"][0]["sentence"]
    assert "Without the defence: 9" in found["wins"][0]["sentence"]
    named = {one["name"].split(" on ")[0] for kind in found.values() for one in kind}
    assert named == {"lora", "ablation", "prefill", "templates"}


def test_the_worst_case_says_where_and_at_what_cost(view):
    words = story.where_words(standings(view)[0].worst)
    assert words.startswith("compliance, rank 16, rate 0.0002, step 128; cost: 1.1e14 operations")


def test_the_lead_counts_what_was_done(view):
    assert story.lead(view) == (
        "smol-135m and smol-360m, each without and with a defence, under 4 attacks and 3 controls, asked 60 "
        "harmful prompts, with 3 seeds."
    )


def test_without_attack_each_model_s_refusals_are_told(view):
    assert "smol-135m 92 % (n = 180)" in story.untouched(view)
    assert "smol-135m with its defence 6" in story.untouched(view)


def test_the_limits_name_defence_seeds_size_judge_and_what_was_left_out(view):
    said = " ".join(story.limits(view))
    for words in (
        "not tamper-resistant",
        "at no cost",
        "3 seeds",
        "360 M parameters",
        "The judge 'classifier' errs",
        "7 categories of prompts",
        "gcg on smol-135m was left out: it needs torch.",
    ):
        assert words in said


def test_a_calibrated_judge_is_said_to_be_one(make_folder):
    folder = make_folder(attacks=("direct",))
    about = json.loads((folder / "stress.json").read_text())
    about["config"]["judges"][0]["calibration"] = {"refused": {}}
    (folder / "stress.json").write_text(json.dumps(about))
    assert "corrected for its errors" in " ".join(story.limits(StressView(folder)))


def test_without_a_defence_nothing_is_said_of_one(make_folder):
    view = StressView(make_folder(defended=(False,), attacks=("direct",)))
    assert not any("tamper-resistant" in line for line in story.limits(view))


def test_the_threat_model_runs_from_the_least_to_the_most(view):
    found = story.threat_model(view.attacks, view.access)
    assert [names for _, names in found] == ["templates", "prefill", "ablation", "lora"]
