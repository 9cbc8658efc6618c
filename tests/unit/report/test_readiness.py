import pytest

from demur.report import RunView
from demur.report import _readiness as readiness


def test_calibration_is_shown_before_and_after(refusal):
    rows = readiness.calibration_rows(refusal)
    assert {row["model"].family for row in rows} == {"classical", "embedding"}
    assert (rows[0]["method"], rows[0]["before"].value, rows[0]["after"].value) == ("platt", 0.09, 0.04)
    assert rows[0]["loss"] == (0.61, 0.52)


def test_a_threshold_has_its_bounds_and_one_that_is_missing_its_reason(refusal):
    first, second, *_ = readiness.operating_rows(refusal)
    assert (first["name"], first["rate"]) == ("fpr_1", "1 %")
    recall = first["sides"][-1]["recall"]
    assert recall.low < recall.value < recall.high
    assert (second["rate"], second["threshold"].value) == ("0.1 %", None)
    assert second["note"] == "too few rows that are no threat"
    assert [side["rows"] for side in second["sides"]] == ["validation"]


def test_test_and_blind_rows_come_before_the_validation_rows(small_run, edit):
    def figure(value):
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 50, "reason": None}

    def change(results):
        for model in results["tasks"]["jailbreak"]["models"]:
            if not model.get("ready"):
                continue
            for side, value in (("blind", 0.4), ("test", 0.6)):
                points = [{"name": "fpr_1", "false_positive_rate": figure(0.02), "recall": figure(value)}]
                sets = {"coverage": figure(value), "unsure": figure(0.2), "wrong_when_sure": figure(0.1)}
                model["ready"][side] = {"rows": 50, "groups": 20, "operating": points, "conformal": sets}

    task = RunView(edit(small_run, change)).tasks[0]
    point, missing, *_ = readiness.operating_rows(task)
    sets = readiness.abstention_rows(task)[0]
    assert [(side["rows"], side["recall"].value) for side in point["sides"]] == [
        *(("test", 0.6), ("blind", 0.4), ("validation", 0.61))
    ]
    assert [side["rows"] for side in missing["sides"]] == ["validation"]
    assert [(side["rows"], side["coverage"].value) for side in sets["sides"]] == [
        *(("test", 0.6), ("blind", 0.4), ("validation", 0.951))
    ]


@pytest.mark.parametrize("checked", [3, {}, {"operating": 3, "conformal": None}, {"operating": [3]}])
def test_what_was_not_measured_on_the_test_rows_has_no_line(small_run, edit, checked):
    def change(results):
        for model in results["tasks"]["jailbreak"]["models"]:
            if model.get("ready"):
                model["ready"]["test"] = checked

    task = RunView(edit(small_run, change)).tasks[0]
    for row in (*readiness.operating_rows(task), *readiness.abstention_rows(task)):
        assert [side["rows"] for side in row["sides"]] == ["validation"]


def test_abstention_says_what_it_guarantees(refusal):
    row = readiness.abstention_rows(refusal)[0]
    assert (row["method"], row["alpha"], row["sides"][-1]["unsure"].value) == ("lac", "5 %", 0.12)
    assert row["note"].startswith("at most 5 % of new rows")


@pytest.mark.parametrize("ready", [None, {}, {"calibration": None, "operating": None, "conformal": None}, 3])
def test_a_model_without_them_has_no_line(small_run, edit, ready):
    def change(results):
        for model in results["tasks"]["jailbreak"]["models"]:
            model["ready"] = ready

    task = RunView(edit(small_run, change)).tasks[0]
    assert readiness.calibration_rows(task) == []
    assert readiness.operating_rows(task) == []
    assert readiness.abstention_rows(task) == []


def test_what_could_not_be_made_keeps_its_reason(small_run, edit):
    def change(results):
        ready = {"calibration": {"method": None, "reason": "few rows"}, "conformal": {"reason": "one class"}}
        for model in results["tasks"]["jailbreak"]["models"]:
            model["ready"] = ready

    task = RunView(edit(small_run, change)).tasks[0]
    row = readiness.calibration_rows(task)[0]
    assert (row["method"], row["reason"], row["before"].value) == ("none", "few rows", None)
    assert readiness.abstention_rows(task)[0]["note"] == "one class"


def test_members_of_an_ensemble_and_their_pairs_are_tables(many_folder):
    (block,) = readiness.diversity_blocks(RunView(many_folder).tasks[0])
    assert block["model"].name == "stack_of_everything"
    assert block["members"]["columns"] == ["Name", "Weight"]
    assert block["members"]["rows"] == [
        [("tfidf_logreg", False), ("0.600", True)],
        [("rules", False), ("—", True)],
    ]
    assert block["pairs"]["rows"][0][2:] == [("0.20 [0.15, 0.25]", True), ("—", True)]
    assert dict(block["figures"]) == {
        "N": "240",
        "Groups": "80",
        "Kappa of all": "0.60",
        "Mean disagreement": "0.20 [0.15, 0.25]",
    }


@pytest.mark.parametrize("found", [{}, None, {"members": None, "pairs": [3]}])
def test_diversity_that_holds_nothing_breaks_nothing(small_run, edit, found):
    edit(small_run, lambda results: results["tasks"]["jailbreak"]["models"][0].update(diversity=found))
    for block in readiness.diversity_blocks(RunView(small_run).tasks[0]):
        assert (block["members"], block["pairs"], block["figures"]) == (None, None, [])
