import numpy as np
import pytest

from demur.analysis import Predicted
from demur.config import parse_settings
from demur.serve.retrain import CompareConfig, JudgedSet, pass_gate
from demur.serve.retrain._gate import choose_testable, length_band
from demur.serve.retrain._noninferior import noninferiority
from demur.tasks import JAILBREAK, REFUSAL


def predicted(truth, called, groups=None, k=3):
    proba = np.full((len(truth), k), 0.1 / (k - 1))
    proba[np.arange(len(truth)), called] = 0.9
    ids = [f"r{number}" for number in range(len(truth))]
    columns = {"group": [str(one) for one in (range(len(truth)) if groups is None else groups)]}
    return Predicted(ids, np.asarray(truth), proba, columns)


def judged(name="golden", n=600, wrong_champion=(), wrong_challenger=(), k=3, groups=None, **values):
    """Both models right everywhere but on the rows named."""
    truth = np.arange(n) % k

    def called(wrong):
        found = truth.copy()
        found[list(wrong)] = (found[list(wrong)] + 1) % k
        return found

    return JudgedSet(
        name,
        predicted(truth, called(wrong_champion), groups, k=k),
        predicted(truth, called(wrong_challenger), groups, k=k),
        **values,
    )


def config(**values):
    return parse_settings(CompareConfig, {"draws": 100, "permutations": 99} | values)


def gate(*sets, task=REFUSAL, **values):
    return pass_gate(task, sets, config(**values))


def slices(report):
    return {one.title: one.verdict for one in report.slices}


def test_a_challenger_that_answers_alike_passes():
    report = gate(judged())
    assert report.is_accepted
    assert slices(report) == dict.fromkeys(
        ["golden/all", "golden/label=hard_refusal", "golden/label=no_refusal", "golden/label=soft_refusal"],
        "no_worse",
    )


def test_a_better_challenger_passes():
    assert gate(judged(wrong_champion=range(0, 600, 10))).is_accepted


def test_a_challenger_that_is_worse_everywhere_is_refused_with_its_score_and_slices():
    report = gate(judged(wrong_challenger=range(0, 600, 4)))
    assert not report.is_accepted
    assert "security score on the golden set is" in report.reasons[0]
    assert "it is worse on" in report.reasons[1]
    assert "golden/all (0.750 against 1.000 right, n=600" in report.reasons[1]


def test_one_bad_slice_is_enough_though_all_else_is_better():
    column = ["rare" if number < 120 else "usual" for number in range(600)]
    report = gate(
        judged(
            wrong_champion=range(120, 600, 6),
            wrong_challenger=range(0, 120, 4),
            columns={"source": column},
        )
    )
    assert slices(report)["golden/source=rare"] == "worse"
    assert slices(report)["golden/source=usual"] == "no_worse"
    assert any("golden/source=rare" in reason for reason in report.reasons)


def test_a_lower_score_is_refused_though_no_slice_shows_it():
    report = gate(judged(wrong_challenger=[0]))
    assert [reason[:23] for reason in report.reasons] == ["its security score on t"]
    assert gate(judged(wrong_challenger=[0]), score_margin=0.05).is_accepted


def test_what_is_not_shown_is_refused():
    """150 rows each, with many answers that differ but none of the models ahead."""
    report = gate(
        judged(n=450, wrong_champion=range(0, 450, 5), wrong_challenger=range(1, 450, 5)), score_margin=0.5
    )
    assert slices(report)["golden/all"] == "no_worse"
    assert {name for name, verdict in slices(report).items() if verdict == "not_shown"} == {
        *("golden/label=hard_refusal", "golden/label=no_refusal", "golden/label=soft_refusal")
    }
    assert "not shown to be no worse on golden/" in report.reasons[0]


def test_a_small_slice_is_said_and_not_passed_silently():
    column = ["tiny" if number < 20 else "usual" for number in range(600)]
    report = gate(judged(columns={"source": column}))
    assert slices(report)["golden/source=tiny"] == "too_small"
    assert report.warnings == ("too few rows to be tested: golden/source=tiny",)
    assert report.is_accepted
    assert not gate(judged(columns={"source": column}), small="refuse").is_accepted


def test_a_small_slice_that_is_surely_worse_is_refused_all_the_same():
    column = ["tiny" if number < 40 else "usual" for number in range(600)]
    report = gate(judged(wrong_challenger=range(40), columns={"source": column}), score_margin=0.9)
    assert slices(report)["golden/source=tiny"] == "worse"
    assert not report.is_accepted


def test_many_small_slices_are_not_held_against_it_for_what_chance_does():
    """Of forty slices of 20 rows one has five rows fewer right: alone that would be rare."""
    column = [f"s{number // 20}" for number in range(800)]
    report = gate(judged(n=800, wrong_challenger=range(5), columns={"source": column}), score_margin=0.5)
    one = next(found for found in report.slices if found.name == "source=s0")
    assert one.result.p_worse < 0.05 < one.p_holm
    assert one.verdict == "too_small"
    assert report.is_accepted


def test_claims_can_be_asked_to_hold_jointly():
    """Each of ten slices is shown on its own, and not beside nine others."""
    column = [f"s{number % 10}" for number in range(800)]
    rows = judged(n=800, columns={"source": column})
    assert gate(rows).is_accepted
    assert gate(rows).warnings == ()
    assert "too few rows" in gate(rows, joint=True).warnings[0]


def test_a_golden_set_that_can_show_nothing_is_refused():
    report = gate(judged(n=45))
    assert "golden set is too small to show anything (n=45, 45 groups, margin 0.05)" in report.reasons[0]


def test_recent_rows_are_guarded_too():
    report = gate(judged(), judged("recent", n=300, wrong_challenger=range(0, 300, 3)))
    assert slices(report)["recent/all"] == "worse"
    assert set(report.pairs) == {"golden", "recent"}


def test_being_better_on_recent_rows_makes_good_for_nothing():
    """Whoever poisons feedback makes the recent rows say what they want."""
    report = gate(judged(wrong_challenger=range(0, 600, 2)), judged("recent", wrong_champion=range(0, 600, 2)))
    assert slices(report)["recent/all"] == "no_worse"
    assert not report.is_accepted


def test_a_column_with_one_value_is_no_slice_of_its_own():
    assert "golden/source=one" not in slices(gate(judged(columns={"source": ["one"] * 600})))


def test_rows_without_a_value_are_in_no_slice():
    column = [None if number % 2 else "en" for number in range(600)]
    (found,) = [one for one in gate(judged(columns={"lang": column})).slices if one.name == "lang=en"]
    assert found.result.n == 300


def test_columns_of_the_users_own_are_guarded():
    column = ["shop" if number % 2 else "bank" for number in range(600)]
    found = slices(gate(judged(columns={"product": column}), slices=["product"]))
    assert set(found) == {"golden/all", "golden/product=shop", "golden/product=bank"}


def test_decisions_at_the_operating_point_are_guarded():
    truth = np.arange(600) % 2
    flags = truth == 1
    missed = flags & (np.arange(600) % 5 > 0)
    rows = judged(k=2, flagged={"fpr_1": (flags, missed)})
    report = gate(rows, task=JAILBREAK)
    assert slices(report)["golden/flagged at fpr_1, threat"] == "worse"
    assert slices(report)["golden/flagged at fpr_1, safe"] == "no_worse"


def test_rows_of_a_group_count_less():
    truth, wrong = np.arange(600) % 3, np.arange(600) % 3
    alone = JudgedSet("golden", predicted(truth, wrong), predicted(truth, wrong))
    together = JudgedSet("golden", *(predicted(truth, wrong, groups=np.arange(600) // 60) for _ in range(2)))
    assert gate(alone).is_accepted
    assert not gate(together).is_accepted


def test_figures_of_the_gate_are_plain_values():
    import json

    told = gate(judged(columns={"source": ["a", "b"] * 300})).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["pairs"]["golden"]["metrics"]["custom_score"]["difference"] == 0.0


# Which slices are tested


def equal(n):
    right = np.ones(n)
    return noninferiority(right, right, np.arange(n), 0.05)


def test_slices_that_could_not_pass_with_the_same_answers_are_left_out():
    assert choose_testable([equal(600), equal(200), equal(40)], config()) == [True, True, False]


def test_more_slices_need_more_rows_where_claims_must_hold_jointly():
    assert choose_testable([equal(55)] * 8, config()) == [True] * 8
    assert choose_testable([equal(55)], config(joint=True)) == [True]
    assert sum(choose_testable([equal(55)] * 8, config(joint=True))) < 8


def test_every_slice_that_is_tested_jointly_passes_with_the_same_answers():
    from demur.analysis import adjust_holm

    results = [equal(n) for n in (400, 130, 120, 110, 90, 70, 60, 55, 30)]
    chosen = choose_testable(results, config(joint=True))
    adjusted = adjust_holm([one.p if is_in else None for one, is_in in zip(results, chosen, strict=True)])
    assert any(chosen)
    assert all(p is None or p <= 0.05 for p in adjusted)


def test_rows_below_the_least_are_not_tested():
    assert choose_testable([equal(600), equal(300)], config(min_rows=400)) == [True, False]


CLUSTERED = np.repeat(np.arange(243), [20] * 3 + [1] * 240)
"""Groups of 300 rows: three prompts with twenty paraphrases each, and 240 others."""


def test_no_answer_takes_a_slice_out_of_the_test():
    right = np.ones(300)
    same = noninferiority(right, right, CLUSTERED, 0.05)
    fails = noninferiority(np.arange(300) >= 60, right, CLUSTERED, 0.05)
    assert fails.design_effect > 1.5 * same.design_effect
    assert choose_testable([same], config()) == choose_testable([fails], config()) == [True]


def test_a_challenger_that_fails_on_whole_groups_is_refused_on_their_slice():
    """Beside many small slices, where Holm's procedure would hide it."""
    groups = np.concatenate([CLUSTERED, np.arange(300, 4000)])
    column = ["de"] * 300 + ["en"] * 3200 + [f"l{number % 25}" for number in range(500)]
    rows = judged(
        n=4000,
        wrong_champion=range(300, 4000, 10),
        wrong_challenger=[*range(60), *range(300, 3000, 10)],
        groups=groups,
        columns={"lang": column},
    )
    report = gate(rows, score_margin=0.9)
    assert slices(report)["golden/lang=de"] == "worse"
    assert "golden/lang=de (0.800 against 1.000 right, n=300" in report.reasons[0]


@pytest.mark.parametrize(("chars", "band"), [(0, "short"), (199, "short"), (200, "medium"), (5000, "long")])
def test_lengths_have_bands(chars, band):
    assert length_band(chars) == band


@pytest.mark.slow
def test_a_challenger_worse_by_the_margin_on_one_slice_is_seldom_accepted():
    """Of all slices one is worse by just the margin: it passes in at most alpha of the runs."""
    generator, accepted, runs = np.random.default_rng(3), 0, 200
    settings = {"draws": 100, "permutations": 99, "score_margin": 0.9}
    for _ in range(runs):
        rows = np.arange(200)
        worse = rows[generator.random(200) < 0.05]
        column = ["guarded" if number < 200 else "rest" for number in range(800)]
        report = gate(judged(n=800, wrong_challenger=worse, columns={"source": column}), **settings)
        accepted += report.is_accepted
    assert accepted / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[20] * 3 + [1] * 240, [8] * 10 + [1] * 220, [25] * 2 + [1] * 250])
def test_a_challenger_worse_by_the_margin_on_whole_groups_is_seldom_accepted(sizes):
    """Rows of a group fare alike, and groups have very different sizes."""
    generator, passed, runs = np.random.default_rng(4), 0, 600
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(runs):
        result = noninferiority(generator.random(len(sizes))[groups] >= 0.05, np.ones(len(groups)), groups, 0.05)
        (is_tested,) = choose_testable([result], config())
        passed += not is_tested or result.p <= 0.05
    assert passed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
