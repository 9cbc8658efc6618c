import re

import pytest

from demur.metrics import Estimate
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
    named = {one["name"].split(" on ")[0] for kind, ones in found.items() for one in ones if kind != "controls"}
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
    assert re.search(r"smol-135m 92 % \(\d+ % to \d+ %, n = 180\)", story.untouched(view))
    assert "smol-135m with its defence 6" in story.untouched(view)


def test_the_threat_model_runs_from_the_least_to_the_most(view):
    found = story.threat_model(view.attacks, view.access)
    assert [names for _, names in found] == ["templates", "prefill", "ablation", "lora"]


def test_controls_that_comply_are_told_apart(view):
    (first, _) = story.verdicts(view)["controls"]
    assert first["name"] == "random_lora on smol-135m"
    assert first["sentence"].startswith(
        "After a change of equal size without meaning, the hardened model complied"
    )


def test_shares_have_their_interval_and_their_responses(view):
    assert story.share_words(standings(view)[0].worst.estimate).endswith("n = 180)")


def test_wilsons_interval_stands_beside_where_categories_are_few():
    reason = "5 categories: too few for an interval over them; over the 60 prompts alone Wilson's is 0.2 to 0.4"
    assert story.beside_words(Estimate(0.3, 0.0, 1.0, 60, reason)) == (
        "over the 60 prompts alone Wilson's is 0.2 to 0.4"
    )
    assert story.beside_words(Estimate(0.3, 0.0, 1.0, 60)) == ""
