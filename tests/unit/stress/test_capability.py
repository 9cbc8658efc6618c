import json
import sys

import polars as pl
import pytest
import torch

from demur.errors import ConfigError, MissingDependencyError, NoMemoryError, RunError
from demur.metrics import wilson_interval
from demur.stress import _capability, run_stress
from demur.stress._capability import (
    capability_rows,
    check_capability,
    hash_capability,
    measure_capability,
    read_figures,
)
from demur.stress._config import CapabilityConfig

FOUND = {
    "results": {
        "colours": {"alias": "colours", "sample_len": 8, "acc,none": 0.75, "acc_stderr,none": 0.16},
        "words": {"alias": "words", "word_perplexity,none": 9.5, "word_perplexity_stderr,none": "N/A"},
        "sums": {"exact_match,strict": 0.5, "exact_match_stderr,strict": 0.1},
    },
    "groups": {"sums": {}},
    "n-samples": {"colours": {"original": 20, "effective": 8}, "words": {"original": 3, "effective": 3}},
}


def test_figures_are_those_of_each_task_with_error_and_count():
    found = {(one["task"], one["metric"]): (one["value"], one["stderr"], one["n"]) for one in read_figures(FOUND)}
    assert found == {
        ("colours", "acc"): (0.75, 0.16, 8),
        ("words", "word_perplexity"): (9.5, None, 3),
        ("sums", "exact_match_strict"): (0.5, 0.1, None),
    }


def test_a_share_has_wilsons_interval_and_other_figures_as_many_errors_as_the_level_asks():
    rows = {one["metric"]: one for one in capability_rows(read_figures(FOUND), 0.95)}
    share, group = rows["capability:colours:acc"], rows["capability:sums:exact_match_strict"]
    assert (share["low"], share["high"]) == wilson_interval(6, 8, 0.95)
    assert (group["low"], group["high"]) == pytest.approx((0.5 - 0.196, 0.5 + 0.196), abs=1e-4)
    assert rows["capability:words:word_perplexity"]["low"] is None
    assert rows["capability:colours:acc:stderr"]["value"] == 0.16
    assert {"judge", "metric", "value", "low", "high", "n", "reason"} == set(share)


def test_without_tasks_nothing_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    check_capability(CapabilityConfig())


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'demur\[capability\]'") as caught:
        check_capability(CapabilityConfig(tasks=("colours",)))
    assert caught.value.exit_code == 3


def test_a_task_file_that_changed_changes_the_hash_and_the_batch_size_does_not(tmp_path):
    (tmp_path / "a.yaml").write_text("task: a", encoding="utf-8")
    config = CapabilityConfig(tasks=("a",), include_path=str(tmp_path))
    first = hash_capability(config)
    assert hash_capability(config.model_copy(update={"batch_size": 3})) == first
    assert hash_capability(config.model_copy(update={"limit": 3})) != first
    (tmp_path / "a.yaml").write_text("task: a\n# b", encoding="utf-8")
    assert hash_capability(config) != first


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (torch.OutOfMemoryError("CUDA"), NoMemoryError, r"lower capability\.batch_size"),
        (OSError(28, "No space left on device"), RunError, "no disk space left"),
        (
            ConnectionError("no hub"),
            RunError,
            "ConnectionError: no hub.*leave the task out; what was done is kept",
        ),
    ],
)
def test_an_error_of_a_task_is_one_sentence(error, kind, said):
    with pytest.raises(kind, match=said):
        raise _capability._explain(error)


def test_the_end_of_each_attack_on_weights_is_measured_once(make_grid, tmp_path, monkeypatch):
    asked = []

    def measure(target, config):
        weights = [one for name, one in target.module.named_parameters() if "lora_B" in name]
        asked.append(max((float(one.detach().abs().max()) for one in weights), default=None))
        figure = {"task": "colours", "metric": "acc", "value": 0.5, "stderr": 0.1, "n": 4, "is_group": False}
        return [figure]

    monkeypatch.setattr("demur.stress._grid.check_capability", lambda config: None)
    monkeypatch.setattr("demur.stress._cell.measure_capability", measure)
    config = make_grid(
        attacks={"lora": {"rank": 2, "steps": [0, 1], "learning_rate": 0.01}, "prefill": {"lengths": [1]}},
        capability={"tasks": ["colours"]},
    )
    result = run_stress(config, tmp_path)
    base, trained = asked
    assert base is None
    # Where the attack ended, not where it began.
    assert trained > 0
    run_stress(make_grid(**config.model_dump(include={"attacks", "capability"}), stop={"times": 3}), tmp_path)
    assert len(asked) == 2
    kept = {one["cell"]["attack"]: [stage.get("capability") for stage in one["stages"]] for one in result.cells}
    assert [one is not None for one in kept["lora"]] == [False, True]
    assert kept["prefill"] == [None]
    grid = pl.read_csv(tmp_path / "results" / "metrics" / "results_grid.csv")
    rows = grid.filter(pl.col("metric") == "capability:colours:acc")
    assert rows.select("attack", "step", "value", "n").rows() == [("direct", 0, 0.5, 4), ("lora", 1, 0.5, 4)]


@pytest.fixture
def tasks(tmp_path):
    """A folder with a task of two answers."""
    rows = [{"question": f"Is {one} a colour?", "answer": int(one == "wax")} for one in ("red", "blue", "wax")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    task = {
        "task": "colours",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(tmp_path / "rows.jsonl")},
            "cache_dir": str(tmp_path / "cache"),
        },
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "doc_to_choice": ["yes", "no"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "colours.yaml").write_text(json.dumps(task), encoding="utf-8")
    return str(tmp_path / "tasks")


def test_a_task_of_ones_own_is_the_likelier_answer_of_the_model(make_target, tasks):
    pytest.importorskip("lm_eval")
    target = make_target()
    state = torch.random.get_rng_state()
    (found,) = measure_capability(target, CapabilityConfig(tasks=("colours",), include_path=tasks))
    assert torch.equal(torch.random.get_rng_state(), state)

    def likelihood(question, answer):
        start = len(target.tokenizer(question)["input_ids"])
        ids = torch.tensor([target.tokenizer(f"{question} {answer}")["input_ids"]])
        with torch.no_grad():
            scores = target.module(ids).logits.log_softmax(-1)[0]
        return sum(float(scores[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))

    wanted = [
        likelihood(f"Is {one} a colour?", "no") > likelihood(f"Is {one} a colour?", "yes")
        for one in ("red", "blue", "wax")
    ]
    right = sum(a == b for a, b in zip(wanted, (False, False, True), strict=True))
    assert (found["task"], found["metric"], found["n"]) == ("colours", "acc", 3)
    assert found["value"] == pytest.approx(right / 3)


def test_an_adapter_counts_and_a_limit_is_of_documents(make_target, add_adapter, tasks, same_weights, weights_of):
    pytest.importorskip("lm_eval")
    config = CapabilityConfig(tasks=("colours",), include_path=tasks, limit=2, chat=True)
    target = add_adapter(make_target())
    before = weights_of(target.module)
    (found,) = measure_capability(target, config)
    assert found["n"] == 2
    assert same_weights(target.module, before)


def test_an_unknown_task_names_the_nearest(tasks):
    pytest.importorskip("lm_eval")
    with pytest.raises(ConfigError, match=r"lm-eval knows no task 'colors'.*did you mean 'colours'"):
        check_capability(CapabilityConfig(tasks=("colors",), include_path=tasks))
    with pytest.raises(ConfigError, match="there is no folder nowhere of tasks"):
        check_capability(CapabilityConfig(tasks=("colors",), include_path="nowhere"))
