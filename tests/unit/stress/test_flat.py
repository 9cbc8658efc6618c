import polars as pl
import pytest

from demur.stress._flat import C50_SCHEMA, DIFFERENCE_SCHEMA, LEFT_OUT_SCHEMA, SURVIVAL_SCHEMA, flat_frames

ABOUT = {
    "model": "tiny",
    "defended": True,
    "attack": "lora",
    "variant": "rank=4",
    "access": "training",
    "data": "compliance",
    "rank": 4,
    "learning_rate": 1e-3,
    "parameters": 1000,
}
POINT = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "reason": None}
HALF = {
    **{"value": None, "low": None, "high": None, "bound": "above", "bound_at": 1e9, "slope": None, "n": 20},
    **{"n_broken": 3, "n_at_start": 0, "method": "none", "reason": "half was never reached", "warnings": ()},
}
BUDGET = {
    "about": ABOUT,
    "judge": "keywords",
    "c50": HALF,
    "survival_steps": {"budgets": [0.0, 4.0], "points": [POINT, POINT | {"value": 0.2}]},
}
DIFFERENCE = {
    "about": ABOUT,
    "to": "undefended model",
    "judge": "keywords",
    "metric": "complied",
    "points": [
        {"step": 4, "label": "", "value": 0.2, "base": 0.7, "difference": POINT | {"value": -0.5}, "p": 0.01}
    ],
}


@pytest.fixture
def frames():
    gone = ABOUT | {"seed": 1, "status": "skipped", "reason": "no gradient"}
    return flat_frames({"budgets": [BUDGET], "differences": [DIFFERENCE], "left_out": [gone]})


def test_a_bound_stays_a_bound_and_has_no_value(frames):
    (row,) = frames["c50"].to_dicts()
    assert (row["value"], row["bound"], row["bound_at"]) == (None, "above", 1e9)
    assert (row["model"], row["rank"], row["reason"]) == ("tiny", 4, "half was never reached")


def test_cells_that_were_left_out_have_their_reason(frames):
    (row,) = frames["left_out"].to_dicts()
    assert (row["attack"], row["seed"], row["status"], row["reason"]) == ("lora", 1, "skipped", "no gradient")


def test_survival_is_by_step(frames):
    assert frames["survival"].select("step", "value").rows() == [(0, 0.5), (4, 0.2)]


def test_differences_name_both_sides(frames):
    (row,) = frames["differences"].to_dicts()
    assert (row["hardened"], row["base"], row["value"]) == (0.2, 0.7, -0.5)
    assert (row["to"], row["metric"], row["step"], row["p_holm"]) == ("undefended model", "complied", 4, None)


@pytest.mark.parametrize("summary", [{}, {"budgets": [], "differences": []}])
def test_without_steps_tables_have_their_columns_and_no_row(summary):
    frames = flat_frames(summary)
    schemas = {"c50": C50_SCHEMA, "survival": SURVIVAL_SCHEMA}
    schemas |= {"differences": DIFFERENCE_SCHEMA, "left_out": LEFT_OUT_SCHEMA}
    assert {name: dict(frame.schema) for name, frame in frames.items()} == schemas
    assert all(frame.is_empty() for frame in frames.values())


def test_tables_read_back_as_they_were(frames, tmp_path):
    for name, frame in frames.items():
        frame.write_csv(tmp_path / f"{name}.csv")
        assert pl.read_csv(tmp_path / f"{name}.csv", schema=frame.schema).equals(frame)
