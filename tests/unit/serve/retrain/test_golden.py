import numpy as np
import pytest
from tests.conftest import make_rows, write_rows
from tests.retraining import sha256

from demur.config import parse_settings
from demur.data import Records, assign_groups
from demur.errors import ConfigError, DataError, LeakError
from demur.serve.retrain import TaskConfig
from demur.serve.retrain._golden import check_hash, find_leaks, near_rows, read_golden, refuse_leaks
from demur.tasks import REFUSAL


def settings(path, **values):
    given = {"experiment": "e.yaml", "golden": str(path), "golden_sha256": sha256(path) if path.exists() else None}
    return parse_settings(TaskConfig, given | values)


@pytest.fixture
def golden(tmp_path):
    return write_rows(tmp_path / "golden.jsonl", make_rows(60))


def test_a_golden_set_that_is_not_frozen_is_refused_with_its_hash(golden):
    with pytest.raises(ConfigError, match=f"write golden_sha256: {sha256(golden)}"):
        check_hash(settings(golden, golden_sha256=None))


def test_a_golden_set_that_was_changed_is_refused(golden):
    frozen = settings(golden)
    assert check_hash(frozen) == sha256(golden)
    golden.write_text(golden.read_text() + "\n")
    with pytest.raises(DataError, match="was changed"):
        check_hash(frozen)


def test_a_golden_set_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="no golden set"):
        check_hash(settings(tmp_path / "golden.jsonl"))


def test_every_row_counts_repeated_ones_too(tmp_path):
    path = write_rows(tmp_path / "golden.jsonl", [*make_rows(60), *make_rows(2)])
    found = read_golden(settings(path), REFUSAL)
    assert len(found) == 62
    assert set(found.frame.get_column("lang").drop_nulls()) == {"en"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refusal": None}, "without a label"),
        ({"response": ""}, "empty"),
    ],
)
def test_a_golden_set_with_rows_that_cannot_be_used_is_refused(tmp_path, change, said):
    rows = make_rows(60)
    path = write_rows(tmp_path / "golden.jsonl", [*rows[:-1], rows[-1] | change])
    with pytest.raises(DataError, match=f"1 of 60 rows of the golden set cannot be used .*{said}"):
        read_golden(settings(path), REFUSAL)


def test_a_golden_set_that_contradicts_itself_is_refused(tmp_path):
    rows = make_rows(60)
    path = write_rows(tmp_path / "golden.jsonl", [*rows, rows[0] | {"refusal": "soft_refusal"}])
    with pytest.raises(DataError, match="contradictions_refusal"):
        read_golden(settings(path), REFUSAL)


def test_columns_of_guarded_slices_must_be_there(golden):
    with pytest.raises(DataError, match="no column 'product', by which slices are guarded"):
        read_golden(settings(golden, compare={"slices": ["product"]}), REFUSAL)


# Leaks


def grouped(*parts):
    joined = assign_groups(Records.concat(parts))
    found, start = [], 0
    for part in parts:
        found.append(joined.take(np.arange(start, start + len(part))))
        start += len(part)
    return found


def test_the_same_row_nearly_the_same_and_one_of_the_same_prompt_are_leaks():
    rows = make_rows(10)
    prompt, response = rows[0]["prompt"] + " " * 3, rows[0]["response"]
    near = {"prompt": "Please, " + rows[4]["prompt"] * 12, "response": rows[4]["response"]}
    golden_row = rows[4] | {"prompt": rows[4]["prompt"] * 12}
    other = [
        {"id": "same", "prompt": prompt.upper(), "response": response},
        {"id": "near", **near},
        {"id": "prompt", "prompt": rows[2]["prompt"], "response": "something else altogether"},
        {"id": "free", "prompt": "what of the moon", "response": "It is far."},
    ]
    golden, train = grouped(Records.from_rows([*rows[:4], golden_row]), Records.from_rows(other))
    assert find_leaks(golden, train, REFUSAL, 0.85).tolist() == [True, True, True, False]
    with pytest.raises(
        LeakError, match="3 training rows stand in the golden set or nearly do, such as same, near"
    ):
        refuse_leaks(golden, train, REFUSAL, 0.85)
    assert refuse_leaks(golden, train.take([3]), REFUSAL, 0.85)["train"] == 1


def test_nothing_is_near_to_nothing():
    assert near_rows([], ["a"], 0.9).tolist() == []
    assert near_rows(["a"], [], 0.9).tolist() == [False]
