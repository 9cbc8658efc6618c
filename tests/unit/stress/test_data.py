import json
from collections import Counter

import pytest

from demur.config import merge_values, parse_settings
from demur.errors import DataError, EmptyDataError, LeakError, UnreadableFileError
from demur.stress import StressConfig
from demur.stress._data import load_stress_rows


@pytest.fixture
def make_config(tmp_path):
    """Configurations of rows given by name: ``make_config(harmful=[{"prompt": "a"}])``."""

    def make(limit=None, **files):
        data = {}
        for name, rows in ({"harmful": [{"prompt": "How to glim?"}, {"prompt": "How to wax?"}]} | files).items():
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
            data[name] = str(path)
        return parse_settings(
            StressConfig, merge_values({"attacks": {"lora": {}}, "limit": limit}, {"data": data})
        )

    return make


def test_prompts_bear_kind_and_category(make_config):
    rows = load_stress_rows(
        make_config(harmful=[{"prompt": "a", "category": "x", "id": "7"}], safe=[{"prompt": "b"}])
    )
    assert [(one.id, one.kind, one.category) for one in rows.prompts] == [
        ("harmful:7", "harmful", "x"),
        ("safe:row-1", "safe", None),
    ]
    assert rows.prompts[0].conversation.messages[0].content == "a"


def test_directions_take_the_training_prompts_unless_they_have_their_own(make_config):
    rows = [{"prompt": "x", "response": "y"}]
    found = load_stress_rows(make_config(compliance=rows, benign=[{"prompt": "z", "response": "y"}])).material
    assert [one.messages[0].content for one in found.harmful_prompts] == ["x"]
    assert [one.messages[0].content for one in found.harmless_prompts] == ["z"]
    own = load_stress_rows(make_config(compliance=rows, harmful_train=[{"prompt": "q"}])).material
    assert [one.messages[0].content for one in own.harmful_prompts] == ["q"]


GROUPS = [
    {"prompt": f"{group}{number}", "category": group}
    for group, many in (("x", 20), ("y", 3), ("z", 3))
    for number in range(many)
]


def test_a_limit_takes_as_many_of_each_category_and_as_many_of_each_kind(make_config):
    rows = load_stress_rows(make_config(limit=6, harmful=GROUPS, safe=[{"prompt": f"s{n}"} for n in range(9)]))
    kept = Counter(one.category for one in rows.prompts)
    assert kept == {"x": 2, "y": 2, "z": 2, None: 6}


def test_a_limit_is_the_same_each_time_keeps_the_order_and_grows_by_adding(make_config):
    found = [
        [one.text for one in load_stress_rows(make_config(limit=limit, harmful=GROUPS)).prompts]
        for limit in (4, 4, 11, 26)
    ]
    assert found[0] == found[1]
    assert set(found[0]) < set(found[2])
    assert found[3] == [one["prompt"] for one in GROUPS]
    assert found[2] == [one for one in found[3] if one in found[2]]
    # Not the first ones, as a file may be sorted.
    assert found[0] != [one for one in found[3] if one in ("x0", "x1", "y0", "z0")]


def test_a_prompt_that_stands_there_twice_counts_once(make_config):
    rows = load_stress_rows(make_config(harmful=[{"prompt": "a"}, {"prompt": " A "}, {"prompt": "b"}]))
    assert [one.text for one in rows.prompts] == ["a", "b"]
    assert rows.repeated == 1


@pytest.mark.parametrize("side", ["compliance", "benign", "harmful_train", "harmless_train"])
def test_a_prompt_on_both_sides_is_a_leak_whatever_its_case_and_spaces(make_config, side):
    rows = [{"prompt": "  HOW to   glim? ", "response": "y"}]
    with pytest.raises(
        LeakError, match=f"1 of the 2 prompts of data.harmful are in data.{side} too, such as row-1"
    ):
        load_stress_rows(make_config(**{side: rows}))


def test_texts_may_not_be_trained_on_either(make_config):
    rows = [{"prompt": "x", "response": "y"}]
    with pytest.raises(LeakError, match=r"prompts of data\.texts are in data\.benign too"):
        load_stress_rows(make_config(benign=rows, texts=rows))


def test_a_prompt_cannot_be_harmful_and_safe(make_config):
    with pytest.raises(DataError, match="1 prompts are both harmful and safe, such as 'row-1'"):
        load_stress_rows(make_config(safe=[{"prompt": "how to glim?"}]))


def test_no_harmful_prompt_is_refused(make_config, tmp_path):
    config = make_config()
    (tmp_path / "harmful.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(EmptyDataError, match=r"data\.harmful: .* is empty; give a file with at least one row"):
        load_stress_rows(config)


def test_a_row_to_train_on_without_a_response_is_refused_by_its_id(make_config):
    with pytest.raises(DataError, match=r"row 'row-2' of data\.compliance has no response"):
        load_stress_rows(make_config(compliance=[{"prompt": "x", "response": "y"}, {"prompt": "z"}]))


def test_a_file_that_is_not_there_is_named(make_config, tmp_path):
    config = make_config()
    (tmp_path / "harmful.jsonl").unlink()
    with pytest.raises(UnreadableFileError, match=r"harmful\.jsonl"):
        load_stress_rows(config)


def test_hashes_follow_what_they_are_of(make_config):
    first = load_stress_rows(make_config(compliance=[{"prompt": "x", "response": "y"}]))
    second = load_stress_rows(make_config(compliance=[{"prompt": "x", "response": "z"}]))
    assert first.prompts_hash == second.prompts_hash
    assert first.texts_hash == second.texts_hash
    assert first.material_hash != second.material_hash
