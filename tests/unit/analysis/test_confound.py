import numpy as np
import polars as pl
import pytest

from demur.analysis import AnalysisConfig, Baseline, Difference, check_confound
from demur.analysis._balance import table_balance
from demur.analysis._confound import SourceTelling, confound_warnings, is_reached
from demur.data import Records
from demur.tasks import PROMPT_RISK

WORDS = {"desk": "please kindly regards letter", "field": "yo hey gonna lol", "lab": "measure assay sample dose"}


def records(sources=("desk", "field"), n=60, is_told=True, per_group=2):
    generator = np.random.default_rng(0)
    every = " ".join(WORDS.values()).split()
    rows = []
    for number in range(n):
        source = sources[(number // per_group) % len(sources)]
        pool = WORDS[source].split() if is_told else every
        words = " ".join(generator.choice(pool, 4))
        rows.append({"prompt": f"{words} {number}", "source": source, "group": f"g{number // per_group}"})
    return Records(pl.DataFrame(rows))


@pytest.fixture
def config():
    return AnalysisConfig(draws=100, seed=1)


def test_texts_of_distinct_style_tell_their_source(config):
    found = check_confound(records(), PROMPT_RISK, config)
    assert found.value > 0.9
    assert (found.chance, found.sources, found.n) == (0.5, ("desk", "field"), 60)


def test_texts_of_one_style_do_not(config):
    found = check_confound(records(n=160, is_told=False), PROMPT_RISK, config)
    assert found.low < 0.5 < found.high


def test_more_than_two_sources_are_told_apart(config):
    found = check_confound(records(("desk", "field", "lab"), n=90), PROMPT_RISK, config)
    assert found.value > 0.8
    assert found.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("given", [records(("desk",)), records(n=14), records(n=60, per_group=30)])
def test_few_rows_or_groups_of_a_source_leave_nothing_to_check(given, config):
    found = check_confound(given, PROMPT_RISK, config)
    assert found.value is None
    assert found.reason == "fewer than two sources have 10 rows in 3 groups"


def test_rows_without_a_source_take_no_part(config):
    rows = Records.concat([records(), records(n=20).with_column("source", [None] * 20)])
    assert check_confound(rows, PROMPT_RISK, config).n == 60


def test_whole_groups_are_drawn_from_too_many_rows():
    found = check_confound(records(n=300), PROMPT_RISK, AnalysisConfig(draws=50, source_rows=100))
    assert found.n == 100


def difference(a=0.8, b=0.5, low=0.1, high=0.5):
    return Difference(a, b, a - b, low, high)


@pytest.mark.parametrize(
    ("found", "is_level"),
    [
        (difference(), False),
        (difference(b=0.79, low=-0.1), True),
        (difference(b=0.9, low=-0.2, high=-0.01), True),
        (difference(b=0.7, low=None, high=None), False),
        (Difference(None, None, None), False),
    ],
)
def test_a_baseline_is_cleared_only_by_the_whole_interval(found, is_level):
    assert is_reached(found) == is_level


def test_a_baseline_that_reaches_the_winner_is_warned_of_once():
    baselines = [
        Baseline("source", "most frequent", "test", 90, {"f1_macro": difference(b=0.75, low=-0.02, high=0.1)}),
        Baseline("source", "most telling", "test", 90, {"f1_macro": difference(b=0.79, low=-0.02, high=0.1)}),
        Baseline("nothing", "most frequent", "test", 90, {"f1_macro": difference(b=0.2)}),
    ]
    (said,) = confound_warnings(PROMPT_RISK, [], baselines, None)
    assert said == (
        "a judge that reads no text and knows only the source has macro-F1 0.790 under 'test' where the winner "
        "has 0.800 (difference +0.010 [-0.020, +0.100], n=90): the score is not shown to come from the texts"
    )


def test_labels_that_depend_on_the_source_are_warned_of():
    balance = table_balance("source", PROMPT_RISK.labels, ["desk", "field"], [[80, 2, 3], [0, 0, 90]])
    told = SourceTelling(0.95, 0.9, 0.98, 0.5, 175, ("desk", "field"))
    (said,) = confound_warnings(PROMPT_RISK, [balance], [], told)
    assert said.startswith("labels depend strongly on the source (Cramér's V 0.9")
    assert "'field' has only 'malicious'" in said
    assert "texts tell their source (balanced accuracy 0.95, chance 0.50)" in said


def test_nothing_is_said_where_nothing_is_wrong():
    balance = table_balance("source", PROMPT_RISK.labels, ["a", "b"], [[30, 30, 30], [31, 29, 30]])
    split = table_balance("split", PROMPT_RISK.labels, ["train", "test"], [[90, 0, 0], [0, 0, 90]])
    assert confound_warnings(PROMPT_RISK, [balance, split], [], None) == []


def test_a_score_that_one_label_for_all_reaches_is_said_to_show_little():
    baseline = Baseline("nothing", "best scoring", "test", 90, {"custom_score": difference(0.46, 0.5, -0.2, 0.1)})
    (said,) = confound_warnings(PROMPT_RISK, [], [baseline], None)
    assert said.startswith("a judge that reads no text and always calls one label has security score 0.500")
    assert said.endswith("this figure alone does not show that the winner tells labels apart")
