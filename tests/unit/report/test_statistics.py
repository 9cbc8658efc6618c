import pytest

from demur.report import RunView
from demur.report import _statistics as statistics
from demur.report._compare import differences


def test_every_other_model_has_a_line_the_nearest_rival_first(run, refusal):
    found = statistics.against_all(run, refusal, differences(run, refusal))
    assert {line["other"] for line in found["rows"]} == {m.name for m in refusal.usable} - {refusal.winner.name}
    gaps = [line["figures"][0].difference.value for line in found["rows"]]
    assert gaps == sorted(gaps)
    assert (found["protocol"], found["count"], found["has_folds"]) == ("test split", 10, False)


def test_a_line_counts_the_rows_only_one_of_the_two_has_right(run, refusal):
    found = statistics.against_all(run, refusal, differences(run, refusal))
    line = next(line for line in found["rows"] if line["other"] == "rules")
    a, b = (run.predictions("refusal", name, "test") for name in (refusal.winner.name, "rules"))
    right_a, right_b = (one.called == one.y for one in (a, b))
    assert line["only"] == (int((right_a & ~right_b).sum()), int((~right_a & right_b).sum()))


def test_tests_over_folds_are_shown_where_there_are_any(small_run, edit):
    def fold(results):
        protocols = results["tasks"]["jailbreak"]["statistics"]["protocols"]
        protocols["cv"] = protocols["test"]
        for pair in protocols["cv"]["pairs"]:
            pair["metrics"]["custom_score"]["t_p_holm"] = 0.03

    view = RunView(edit(small_run, fold))
    found = statistics.against_all(view, view.tasks[0], differences(view, view.tasks[0]))
    assert found["has_folds"]
    assert {line["folds"] for line in found["rows"]} == {"0.030"}


def test_without_a_winner_there_is_no_table(run, refusal):
    assert statistics.against_all(run, refusal, []) is None


def test_each_protocol_says_what_its_rows_would_show(run, refusal):
    said = statistics.detectable_sentences(run, refusal)
    assert len(said) == 4
    assert said[0].startswith("test split (n = 150 in ")
    assert " in security score and " in said[0]


def test_ranks_come_from_cross_validation_where_there_is_one(run, refusal, small_run, edit):
    assert statistics.rank_of(run, refusal)[0] == "leave_one_source_out"

    def add(results):
        protocols = results["tasks"]["jailbreak"]["statistics"]["protocols"]
        protocols["cv"] = {"ranks": {"custom_score": {"ranks": {}}}}

    view = RunView(edit(small_run, add))
    assert statistics.rank_of(view, view.tasks[0])[0] == "cv"
    assert statistics.rank_of(view, view.tasks[0], "accuracy") is None


def with_statistics(folder, edit, **parts):
    view = RunView(edit(folder, lambda results: results["tasks"]["jailbreak"]["statistics"].update(parts)))
    return view, view.tasks[0]


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ({"p": 0.5, "cramers_v": 0.02, "is_strong": False, "method": "chi-square"}, "even"),
        ({"p": 0.001, "cramers_v": 0.02, "is_strong": False, "method": "chi-square"}, "even"),
        ({"p": 0.001, "cramers_v": 0.3, "is_strong": False, "method": "permutation"}, "uneven"),
        ({"p": 0.001, "cramers_v": 0.8, "is_strong": True, "method": "fisher"}, "strongly uneven"),
        ({"p": None, "cramers_v": None, "method": None, "reason": "one label only"}, "one label only"),
    ],
)
def test_a_balance_is_judged_by_its_size_not_by_its_p_value_alone(small_run, edit, test, says):
    balance = {"name": "source", "values": ["a", "b", "c"], "test": {"n": 90} | test}
    (row,) = statistics.balance_rows(*with_statistics(small_run, edit, balance=[balance]))
    assert (row["name"], row["kinds"], row["n"], row["says"]) == ("Sources", 3, 90, says)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, ""),
        ({"value": None, "reason": "one source"}, "was not checked: one source."),
        ({"value": 0.9, "low": 0.8, "high": 0.95, "chance": 0.5}, "Texts give their source away: "),
        ({"value": 0.52, "low": 0.4, "high": 0.6, "chance": 0.5}, "Texts are not shown to give their source away"),
    ],
)
def test_whether_texts_tell_their_source_is_a_sentence(small_run, edit, told, said):
    told = told and {"n": 90, "sources": ["a", "b"]} | told
    found = statistics.told_source(*with_statistics(small_run, edit, confound={"told": told, "baselines": []}))
    assert said in found
    assert bool(found) == bool(said)


def test_judges_without_texts_are_a_table_with_the_winners_lead(small_run, edit):
    figures = {"a": 0.9, "b": 0.4, "difference": 0.5, "low": 0.4, "high": 0.6}
    baselines = [
        {"sees": sees, "rule": "most frequent", "protocol": protocol, "n": 80, "metrics": both(figures)}
        for sees, protocol in (("nothing", "test"), ("source", "test"), ("source", "cv"))
    ]
    view, task = with_statistics(small_run, edit, confound={"told": None, "baselines": baselines})
    found = statistics.baseline_table(view, task)
    assert found.caption == "Judges that read no text: test split, n = 80"
    assert [row.name for row in found.rows] == ["knows nothing", "knows the source"]
    assert [cell.value for cell in found.rows[1].cells] == [0.4, 0.5, 0.4, 0.5]
    assert found.rows[1].cells[1].low == 0.4


def both(figures):
    return {"custom_score": figures, "f1_macro": figures}


def test_without_baselines_there_is_no_table(small_run, edit):
    view, task = with_statistics(small_run, edit, confound={"told": None, "baselines": []})
    assert statistics.baseline_table(view, task) is None
