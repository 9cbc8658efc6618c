import csv

import pytest

from demur.report.stress import StressView
from demur.report.stress import _tables as tables

ONE = {"models": (("m", 1e8),)}


def test_every_attack_is_a_row_with_access_and_cost(view):
    rows = {row["name"]: row for row in tables.attack_rows(view)}
    assert rows["lora"]["access"] == "the weights, and a machine to train them on"
    assert "trained parameters" in rows["lora"]["cost"]
    assert rows["direct (no attack)"]["cost"] == "next to nothing"


def test_each_model_has_a_table_worst_case_first(view):
    found = tables.outcome_tables(view)
    assert [table.caption.split(":")[0] for table in found] == ["smol-135m", "smol-360m"]
    first = found[0].rows[0]
    assert first.name == "lora"
    assert first.note.startswith("compliance, rank 16")
    assert [column.note for column in found[0].columns] == ["Base"] * 3 + ["Hardened"] * 3


def test_shares_of_a_row_sum_to_one(view):
    for table in tables.outcome_tables(view):
        for row in table.rows:
            assert sum(cell.value for cell in row.cells[:3]) == pytest.approx(1)
            assert sum(cell.value for cell in row.cells[3:]) == pytest.approx(1)


def test_without_a_defence_there_are_half_as_many_columns(make_folder):
    view = StressView(make_folder(**ONE, defended=(False,), attacks=("direct",)))
    assert [column.note for column in tables.outcome_tables(view)[0].columns] == ["", "", ""]
    assert tables.difference_table(view) is None


def test_differences_are_paired_at_the_worst_case(view):
    table = tables.difference_table(view)
    row = table.rows[0]
    assert row.name == "lora on smol-135m"
    assert row.cells[2].value < 0
    assert len(table.rows) == 14


def test_a_difference_stands_between_the_two_figures_it_is_of(view):
    for row in tables.difference_table(view).rows:
        base, hardened, difference, _ = row.cells
        assert difference.value == pytest.approx(hardened.value - base.value)


def test_p_is_that_of_the_last_step_where_the_worst_is_another(make_folder):
    folder = make_folder(models=(("m", 1.35e8),), attacks=("lora",))
    path = folder / "results/metrics/results_differences.csv"
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row["p_holm"] = "0.04" if row["step"] == "64" else ""
    with path.open("w", newline="") as handle:
        table = csv.DictWriter(handle, rows[0])
        table.writeheader()
        table.writerows(rows)
    assert "; p = 0.040 at step 64 (Holm)" in tables.difference_table(StressView(folder)).rows[0].note


def test_the_benign_side_is_of_models_nobody_attacks(view):
    table = tables.benign_table(view)
    assert [row.name for row in table.rows][:2] == ["smol-135m", "smol-135m with its defence"]
    assert [cell.value for cell in table.rows[0].cells][:2] == pytest.approx([0.06, 0.01])


def test_a_benign_side_nobody_measured_is_none(make_folder):
    assert tables.benign_table(StressView(make_folder(**ONE, attacks=("lora",)))) is None


def test_judges_stand_side_by_side_on_the_same_responses(view):
    table = tables.judge_table(view)
    assert [column.title for column in table.columns] == ["classifier", "keywords"]
    assert all(row.cells[1].value >= row.cells[0].value for row in table.rows)


def test_one_judge_is_no_table(make_folder):
    folder = make_folder(**ONE, attacks=("direct",))
    path = folder / "results/metrics/results_grid.csv"
    path.write_text(path.read_text().replace("keywords", "classifier"))
    assert tables.judge_table(StressView(folder)) is None


def test_agreement_is_shown_as_it_was_measured(view):
    assert tables.agreement_rows(view) == [
        {"judges": "classifier and keywords", "kappa": "0.81", "raw": "0.93", "n": "4\u202f200"}
    ]
