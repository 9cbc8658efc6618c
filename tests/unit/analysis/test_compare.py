from dataclasses import replace

import pytest

from demur.analysis import compare_task
from demur.analysis._compare import rank_over_parts


@pytest.fixture
def models(judged):
    return {"low": judged(0.5, seed=1), "mid": judged(1.5, seed=2), "high": judged(3.0, seed=3)}


def loader(models, protocols=("test", "cv", "valid")):
    return lambda name, protocol: models.get(name) if protocol in protocols else None


def test_rows_that_chose_the_winner_do_not_compare_models(models, task, fast):
    assert list(compare_task(task, list(models), loader(models), fast)) == ["test", "cv"]


def test_a_protocol_needs_two_models(models, task, fast):
    assert compare_task(task, ["low"], loader(models), fast) == {}
    assert compare_task(task, ["low", "gone"], loader(models), fast) == {}


def test_ranks_need_parts(models, task, fast):
    found = compare_task(task, list(models), loader(models), fast)
    assert found["test"].ranks == {}
    ranks = found["cv"].ranks["f1_macro"]
    assert ranks.ranks.models == ("high", "mid", "low")
    assert ranks.parts == ("1", "2", "3", "4")
    assert (found["cv"].n, found["cv"].groups, len(found["cv"].pairs)) == (120, 40, 3)


def test_few_folds_are_said_to_show_little(models, task, fast):
    caveat = rank_over_parts(task, models, "cv", fast)["f1_macro"].caveat
    assert caveat.startswith("with only 4 folds, only large and steady differences show")
    assert "share training rows" in caveat


def test_too_few_folds_are_said_to_show_nothing(judged, task, fast):
    models = {f"m{number}": judged(1.0, seed=number) for number in range(6)}
    caveat = rank_over_parts(task, models, "cv", fast)["f1_macro"].caveat
    if len(models) > 5:
        assert caveat.startswith(("4 folds are too few", "with only 4 folds"))


def test_a_model_of_other_folds_is_ranked_on_those_of_the_most(models, task, fast):
    other = replace(models["mid"], columns={**models["mid"].columns, "fold": ["1", "2", "3"] * 40})
    found = rank_over_parts(task, models | {"mid": other}, "cv", fast)
    assert found == rank_over_parts(task, models, "cv", fast)


def test_lower_is_better_where_it_is(models, task, fast):
    config = fast.model_copy(update={"metrics": ("missed_threat_rate",)})
    assert rank_over_parts(task, models, "cv", config)["missed_threat_rate"].ranks.models[0] == "high"


def test_rows_without_folds_have_no_ranks(models, task, fast):
    bare = {name: replace(rows, columns={}) for name, rows in models.items()}
    assert rank_over_parts(task, bare, "cv", fast) == {}
