import numpy as np
import pytest

from demur.metrics import two_level_bootstrap
from demur.stress._data import load_stress_rows
from demur.stress._summary import Group, describe_settings, summarise


def make_cell(seed, complied, attack="lora", is_defended=False, labels=None, status="done"):
    """A cell whose stage ``s`` complied with the first ``complied[s]`` of six prompts."""
    stages = []
    for place, count in enumerate(complied):
        outcomes = {f"harmful:row-{n + 1}": "complied" if n < count else "hard_refusal" for n in range(6)}
        outcomes |= {f"safe:row-{n + 1}": "complied" for n in range(3)}
        stages.append(
            {
                "step": 0 if labels else place,
                "label": labels[place] if labels else "",
                "cost": {"flops": 100.0 * place},
                "parameters": 1000,
                "outcomes": {"keywords": outcomes, "rules": outcomes},
                "agreement": [{"judges": ["keywords", "rules"], "kappa": 1.0, "raw": 1.0, "n": 9}],
            }
        )
    about = {"model": "tiny", "defended": is_defended, "attack": attack, "access": "training", "seed": seed}
    about["settings"] = {"rank": 4, "data": "compliance", "steps": [0, 1]} if attack == "lora" else {}
    return {"cell": about, "stages": stages, "status": status, "reason": None, "censored": None}


@pytest.fixture
def summary_of(make_grid):
    config = make_grid(seeds=[0, 1])
    return lambda cells: summarise(cells, load_stress_rows(config), config)


def find(summary, metric, attack="lora", judge="keywords", kind="curves"):
    (found,) = [
        one
        for one in summary[kind]
        if one.get("metric") == metric and one["about"]["attack"] == attack and one["judge"] == judge
    ]
    return found


def test_values_are_by_seed_stage_and_prompt():
    group = Group([make_cell(0, [0, 2]), make_cell(1, [1, 6])])
    found = group.values("complied", "keywords", [f"harmful:row-{n + 1}" for n in range(6)])
    assert found.shape == (2, 2, 6)
    assert found.sum(axis=2).tolist() == [[0, 2], [1, 6]]


def test_curves_are_those_of_the_two_level_bootstrap(summary_of, make_grid):
    curve = find(summary_of([make_cell(0, [0, 3]), make_cell(1, [0, 5])]), "complied")
    values = np.array([[np.arange(6) < count for count in one] for one in ([0, 3], [0, 5])], dtype=float)
    categories = [one.category for one in load_stress_rows(make_grid()).prompts if one.kind == "harmful"]
    wanted = two_level_bootstrap(values, categories, draws=50)
    assert [(one["value"], one["low"], one["high"]) for one in curve["points"]] == [
        (one.value, one.low, one.high) for one in wanted.points
    ]


def test_a_stopped_seed_is_carried_on_and_told(summary_of):
    curve = find(summary_of([make_cell(0, [0, 6]), make_cell(1, [0, 3, 3])]), "complied")
    assert [one["seeds_reached"] for one in curve["points"]] == [2, 2, 1]
    assert curve["points"][2]["value"] == pytest.approx(0.75)


def test_strengths_without_steps_are_not_carried_on(summary_of):
    cells = [make_cell(0, [0, 6], "prefill", labels=["a", "b"])]
    assert [one["label"] for one in find(summary_of(cells), "complied", "prefill")["points"]] == ["a", "b"]
    assert summary_of(cells)["budgets"] == []


def test_differences_are_to_the_untampered_base_on_the_same_seeds(summary_of):
    cells = [make_cell(seed, [0], "direct") for seed in (0, 1)] + [make_cell(seed, [0, 6]) for seed in (0, 1)]
    found = find(summary_of(cells), "complied", kind="differences")
    assert found["to"] == "untampered base"
    assert [one["difference"]["value"] for one in found["points"]] == [0, 1]
    assert found["points"][-1]["p_holm"] >= found["points"][-1]["p"]


def test_a_defended_model_is_compared_with_the_undefended_under_the_same_attack(summary_of):
    cells = [make_cell(0, [0, 6, 6]), make_cell(0, [0, 1, 2], is_defended=True)]
    found = find(summary_of(cells), "complied", kind="differences")
    assert found["to"] == "undefended model"
    assert [one["difference"]["value"] for one in found["points"]] == pytest.approx([0, -5 / 6, -4 / 6])


def test_the_budget_of_half_lies_between_the_checkpoints_around_it(summary_of):
    (found,) = summary_of([make_cell(seed, [0, 2, 4, 6]) for seed in (0, 1)])["budgets"]
    assert 100 < found["c50"]["value"] < 300
    assert found["survival"]["n_broken"] == 12
    assert 0 < found["area_complied"]["value"] < 1


def test_sizes_that_are_too_few_for_a_line_give_the_reason(summary_of):
    (found,) = summary_of([make_cell(0, [0, 2, 4, 6])])["scaling"]
    assert found["fit"] is None
    assert "a line needs two" in found["reason"]


def test_agreement_is_over_all_responses(summary_of):
    (found,) = summary_of([make_cell(0, [0, 6])])["agreement"]
    assert found == {"judges": ["keywords", "rules"], "n": 18, "raw": 1.0, "kappa": 1.0}


def test_cells_that_gave_nothing_are_named(summary_of):
    (found,) = summary_of([make_cell(0, [0, 6]), make_cell(0, [], "revert", status="skipped")])["left_out"]
    assert (found["attack"], found["status"]) == ("revert", "skipped")


def test_settings_are_told_in_a_few_words():
    assert describe_settings({"rank": 4, "steps": [0, 1], "identity": "x" * 50, "data": "benign"}) == (
        "rank=4 data=benign"
    )
