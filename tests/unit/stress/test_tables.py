import re

import polars as pl

from demur.stress._data import load_stress_rows
from demur.stress._tables import (
    GRID_SCHEMA,
    OUTCOME_SCHEMA,
    curve_frame,
    file_names,
    grid_frame,
    outcome_frame,
    write_tables,
)


def test_the_grid_has_a_row_for_every_figure(finished):
    frame = grid_frame(finished[1].cells)
    assert frame.columns == list(GRID_SCHEMA)
    lora = frame.filter(
        (pl.col("attack") == "lora") & (pl.col("metric") == "rrr") & (pl.col("judge") == "keywords")
    )
    steps = [stage["step"] for stage in finished[1].cells[1]["stages"]]
    assert lora["step"].to_list() == steps
    assert lora["rank"].to_list() == [8] * len(steps)
    assert lora["flops"].is_sorted()
    assert (lora["low"] <= lora["value"]).all()
    assert (lora["n"] == 6).all()
    assert (frame["parameters"] > 0).all()


def test_prompts_are_named_by_id_with_their_category(make_grid, finished):
    frame = outcome_frame(finished[1].cells, load_stress_rows(make_grid()))
    assert frame.columns == list(OUTCOME_SCHEMA)
    one = frame.filter((pl.col("attack") == "direct") & (pl.col("judge") == "rules"))
    assert one["prompt"].n_unique() == one.height == 9
    assert one.filter(pl.col("kind") == "harmful")["category"].null_count() == 0


def test_curves_are_a_table_too(finished):
    frame = curve_frame(finished[1].summary)
    found = frame.filter((pl.col("attack") == "lora") & (pl.col("metric") == "rrr") & (pl.col("judge") == "rules"))
    assert found["value"][0] > found["value"][-1]
    assert found["n_seeds"].to_list() == [1] * found.height


def test_models_whose_names_look_alike_in_a_file_system_have_files_of_their_own():
    found = file_names(["my model", "my/model", "My-Model", "other model"])
    assert found["other model"] == "other-model"
    assert len({one.lower() for one in found.values()}) == 4
    assert all(
        re.fullmatch(r"[Mm]y-[Mm]odel-[0-9a-f]{8}", found[one]) for one in ("my model", "my/model", "My-Model")
    )


def test_each_model_has_its_own_figures(make_grid, finished, tmp_path):
    cells, names = finished[1].cells, ("a b", "a:b")
    config = make_grid(models=[{"model": "a/b", "name": one} for one in names])
    both = [dict(cell, cell=cell["cell"] | {"model": one}) for one in names for cell in cells]
    write_tables(tmp_path, both, load_stress_rows(make_grid()), config)
    read = [pl.read_csv(path)["model"].unique().to_list() for path in tmp_path.glob("results_grid_*.csv")]
    assert sorted(read) == [["a b"], ["a:b"]]


def test_files_lie_where_figures_look_for_them(finished):
    names = {path.name for path in (finished[0] / "results" / "metrics").iterdir()}
    assert names == {
        *(
            "results_grid.csv",
            "results_grid_tiny.csv",
            "results_prompts.csv",
            "results_curves.csv",
            "summary.json",
        ),
        *("results_c50.csv", "results_survival.csv", "results_differences.csv", "results_left_out.csv"),
    }
