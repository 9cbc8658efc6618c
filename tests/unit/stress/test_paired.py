import numpy as np

from demur.stress._group import Group
from demur.stress._paired import PairedGroups

STOPPED = {"censored": {"step": 1, "reason": "saturated"}}
PROMPTS = [f"harmful:row-{n + 1}" for n in range(6)]


def values_of(pair):
    ours, theirs, counts = pair.values("complied", "keywords", PROMPTS)
    return ours.sum(axis=2).tolist(), theirs.sum(axis=2).tolist(), counts


def test_only_seeds_of_both_sides_are_compared(make_cell):
    pair = PairedGroups(
        Group([make_cell(seed, [0, seed]) for seed in (1, 2)]), Group([make_cell(seed, [0, 3]) for seed in (2, 3)])
    )
    assert pair.seeds == [2]
    assert values_of(pair) == ([[0, 2]], [[0, 3]], [6, 6])


def test_the_untouched_model_stands_beside_every_stage(make_cell):
    pair = PairedGroups(Group([make_cell(0, [0, 5, 6])]), Group([make_cell(0, [1], "direct")]))
    assert pair.stages == [(0, ""), (1, ""), (2, "")]
    assert values_of(pair)[1] == [[1, 1, 1]]


def test_a_base_stopped_at_saturation_stays_as_it_ended(make_cell):
    base = Group([make_cell(0, [0, 6], **STOPPED)])
    pair = PairedGroups(Group([make_cell(0, [0, 1, 2], is_defended=True)]), base)
    assert values_of(pair)[1] == [[0, 6, 6]]


def test_a_base_that_failed_has_no_later_stages(make_cell):
    pair = PairedGroups(Group([make_cell(0, [0, 1, 2])]), Group([make_cell(0, [0, 6], status="failed")]))
    assert pair.stages == [(0, ""), (1, "")]


def test_responses_of_a_stopped_run_are_counted_where_they_were_given(make_cell):
    group = Group([make_cell(0, [0, 6], **STOPPED), make_cell(1, [0, 3, 3])])
    base = Group([make_cell(seed, [0], "direct") for seed in (0, 1)])
    ours, _, counts = PairedGroups(group, base).values("complied", "keywords", PROMPTS)
    assert not np.isnan(ours).any()
    assert counts == [6, 12, 6]


def test_tries_are_the_most_of_either_side(make_cell):
    group = Group([make_cell(0, [1, 2], "decoding", labels=["a", "b"], tries=[1, 4])])
    assert PairedGroups(group, Group([make_cell(0, [0], "direct")])).most_tries == [1, 4]
