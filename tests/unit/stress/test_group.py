import numpy as np
import pytest

from demur.llm import Conversation
from demur.stress._data import StressPrompt
from demur.stress._group import (
    Group,
    cluster_prompts,
    count_responses,
    describe_cell,
    describe_settings,
    group_cells,
)

STOPPED = {"censored": {"step": 1, "reason": "saturated"}}
PROMPTS = [f"harmful:row-{n + 1}" for n in range(6)]


def test_values_are_by_seed_stage_and_prompt(make_cell):
    group = Group([make_cell(0, [0, 2]), make_cell(1, [1, 6])])
    found = group.values("complied", "keywords", PROMPTS)
    assert found.shape == (2, 2, 6)
    assert found.sum(axis=2).tolist() == [[0, 2], [1, 6]]


def test_only_runs_stopped_at_saturation_are_carried_on(make_cell):
    group = Group(
        [make_cell(0, [0, 6], **STOPPED), make_cell(1, [0, 6], status="failed"), make_cell(2, [0, 1, 2])]
    )
    found = group.carry(group.values("complied", "keywords", PROMPTS))
    assert found[0, 2].tolist() == [1] * 6
    assert np.isnan(found[1, 2]).all()


def test_strengths_are_no_steps_and_are_not_carried_on(make_cell):
    group = Group(
        [make_cell(0, [6], "prefill", labels=["a"], **STOPPED), make_cell(1, [6, 0], "prefill", labels=["a", "b"])]
    )
    assert not group.has_steps
    assert np.isnan(group.carry(group.values("complied", "keywords", PROMPTS))[0, 1]).all()


def test_runs_that_ended_early_are_named_with_the_reason(make_cell):
    cells = [
        make_cell(0, [0, 6], **STOPPED),
        make_cell(1, [0, 6], status="failed", reason="no"),
        make_cell(2, [0, 1, 2]),
    ]
    assert Group(cells).endings == ("seed 1 ended at step 1 (no): later steps are those of the other seeds",)


def test_settings_are_told_in_a_few_words():
    assert describe_settings({"rank": 4, "steps": [0, 1], "identity": "x" * 50, "data": "benign"}) == (
        "rank=4 data=benign"
    )


def test_every_setting_is_in_the_id_and_rank_and_steps_are_not_in_the_recipe(make_cell):
    changes = ({}, {"modules": ["q_proj"] * 9}, {"rank": 8}, {"steps": [0, 7]})
    found = [describe_cell(make_cell(0, [0], settings=one)) for one in changes]
    assert len({one["variant_id"] for one in found}) == 4
    assert found[0]["variant"] == found[1]["variant"] == found[3]["variant"]
    assert found[0]["recipe_id"] == found[2]["recipe_id"] == found[3]["recipe_id"] != found[1]["recipe_id"]


def test_cells_are_put_together_by_all_settings(make_cell):
    cells = [make_cell(seed, [0], settings={"modules": [name] * 9}) for name in "ab" for seed in (0, 1)]
    assert [one.seeds for one in group_cells(cells)] == [[0, 1], [0, 1]]


def test_equal_responses_of_untrained_models_count_once_and_of_trained_ones_each(make_cell):
    ablated = Group([make_cell(seed, [3, 4], "ablation", labels=["a", "b"]) for seed in (0, 1, 2)])
    trained = Group([make_cell(seed, [0, 3]) for seed in (0, 1, 2)])
    counts = [
        count_responses(one.values("complied", "keywords", PROMPTS), one.draws) for one in (ablated, trained)
    ]
    assert counts == [[6, 6], [6, 18]]


def test_answers_that_are_drawn_count_for_every_seed(make_cell):
    drawn = Group([make_cell(seed, [3], "decoding", texts=f"texts {seed}") for seed in (0, 1)])
    shared = Group([make_cell(seed, [3], "decoding", texts="texts") for seed in (0, 1)])
    counts = [count_responses(one.values("complied", "keywords", PROMPTS), one.draws) for one in (drawn, shared)]
    assert counts == [[12], [6]]


def test_tries_are_the_most_of_any_seed(make_cell):
    cells = [make_cell(seed, [0, 1], "decoding", labels=["a", "b"], tries=[1, 8]) for seed in (0, 1)]
    assert Group(cells).most_tries() == [1, 8]


@pytest.mark.parametrize(
    ("rows", "clusters"),
    [
        ([("One?", "a"), ("Two?", "a"), ("One?", "b")], ["a", "a", "b"]),
        ([("One?", None), ("Two?", None), (" one? ", None)], ["text: one?", None, "text: one?"]),
    ],
)
def test_prompts_of_a_category_or_of_equal_text_are_drawn_as_one(rows, clusters):
    prompts = [StressPrompt(f"harmful:{n}", "harmful", *row) for n, row in enumerate(rows)]
    assert prompts[0].conversation == Conversation.from_prompt("One?")
    assert cluster_prompts(prompts) == clusters


def test_a_stopped_seed_never_spends_less_than_it_had(make_cell):
    cells = [make_cell(0, [0, 2, 4, 6]), make_cell(1, [0, 3, 6], censored={"step": 2}), make_cell(2, [0])]
    for stage in cells[1]["stages"]:
        stage["cost"]["flops"] *= 4
    flops = group_cells(cells)[0].flops()
    assert flops[1].tolist() == [0, 400, 800, 1200]
    assert flops[2].tolist() == [0, 250, 500, 750]
