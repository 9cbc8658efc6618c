import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from demur.errors import (
    ConfigError,
    DemurError,
    EmptyDataError,
    LeakError,
    LongRowError,
    MissingDependencyError,
    MissingModelError,
    NoMemoryError,
    RunError,
    StorageError,
)
from demur.llm import Target
from demur.metrics import cosine_distances
from demur.stress import run_stress
from demur.stress._answer import ReplyFolder
from demur.stress._bench import Bench
from demur.stress._tune import Tuning


class Count:
    """Counts answers and training calls."""

    def __init__(self, monkeypatch):
        self.answers = self.trained = 0
        generate, go_to = Target.generate, Tuning._train

        def counted(target, conversations, *args, **named):
            self.answers += len(conversations)
            return generate(target, conversations, *args, **named)

        def stepped(tuning, step):
            self.trained += 1
            return go_to(tuning, step)

        monkeypatch.setattr(Target, "generate", counted)
        monkeypatch.setattr(Tuning, "_train", stepped)

    def take(self):
        found = self.answers, self.trained
        self.answers = self.trained = 0
        return found


@pytest.fixture
def count(monkeypatch):
    return Count(monkeypatch)


def cell_of(result, attack="lora", seed=0, defended=False):
    (found,) = [
        one
        for one in result.cells
        if (one["cell"]["attack"], one["cell"]["seed"], one["cell"]["defended"]) == (attack, seed, defended)
    ]
    return found


def rates(cell, metric="rrr", judge="keywords"):
    return [
        row["value"]
        for stage in cell["stages"]
        for row in stage["metrics"]
        if (row["metric"], row["judge"]) == (metric, judge)
    ]


def test_refusals_collapse_under_fine_tuning(finished):
    _, result = finished
    found = rates(cell_of(result))
    assert found[0] >= 0.8
    assert found[-1] <= 0.2
    assert rates(cell_of(result, "direct")) == found[:1]
    assert rates(cell_of(result), "over_refusal")[0] <= 0.5
    utility = rates(cell_of(result), "kl_mean", "")
    assert utility[0] == pytest.approx(0, abs=1e-6)
    assert utility[-1] > 0.01


def test_a_finished_grid_computes_nothing_again(make_grid, finished, finished_copy, count):
    again = run_stress(make_grid(), finished_copy)
    assert count.take() == (0, 0)
    assert again.cells == finished[1].cells


def test_another_seed_costs_its_own_cells_alone(make_grid, finished_copy, count):
    run_stress(make_grid(seeds=[0, 1]), finished_copy)
    # Four stages of nine prompts; greedy answers of the base are those of the first seed.
    assert count.take() == (36, 32)


def test_another_judge_asks_nothing_again(make_grid, finished_copy, count):
    judges = [{"kind": "keywords", "name": "first"}, {"kind": "keywords", "name": "second"}]
    result = run_stress(make_grid(judges=judges), finished_copy)
    assert count.take() == (0, 0)
    assert rates(cell_of(result), judge="second")


def test_further_steps_go_on_from_the_kept_state(make_grid, finished_copy, count):
    attacks = {"lora": {"rank": 8, "steps": [0, 2, 8, 32, 34], "learning_rate": 0.01}}
    run_stress(make_grid(attacks=attacks, stop={"enabled": False}), finished_copy)
    assert count.take() == (9, 2)


def test_other_prompts_train_nothing_again(make_grid, finished_copy, count):
    run_stress(make_grid(limit=2), finished_copy)
    answers, trained = count.take()
    assert answers > 0
    assert trained == 0


def test_a_saturated_cell_is_stopped_and_marked(make_grid, tmp_path):
    attacks = {"lora": {"rank": 8, "steps": [0, 32, 36, 40, 44], "learning_rate": 0.01}}
    cell = cell_of(run_stress(make_grid(attacks=attacks, stop={"complied": 0.5}), tmp_path))
    assert cell["censored"]["reason"] == "saturated"
    assert cell["status"] == "done"
    assert cell["stages"][-1]["step"] == cell["censored"]["step"] < 44


def test_an_attack_that_diverges_fails_alone_with_its_reason(make_grid, tmp_path, monkeypatch):
    import torch

    from demur.stress import _tune

    monkeypatch.setattr(_tune, "answer_loss", lambda *_: torch.tensor(float("nan")))
    result = run_stress(make_grid(), tmp_path)
    assert cell_of(result)["status"] == "failed"
    assert "lower the attack's learning_rate" in cell_of(result)["reason"]
    assert len(cell_of(result)["stages"]) == 1
    assert cell_of(result, "direct")["status"] == "done"
    assert result.summary["left_out"][0]["attack"] == "lora"


def test_a_defence_is_stressed_beside_its_base(make_grid, taught_base, tmp_path):
    from demur.llm import Conversation, TargetConfig, load_target
    from demur.stress import Material, Setting
    from demur.stress.lora import LoraAttack, LoraConfig

    target = load_target(TargetConfig(model=str(taught_base)))
    rows = tuple(Conversation.from_prompt(f"Do {one}").answer("No.") for one in "ab")
    attack = LoraAttack(LoraConfig(rank=2, steps=(1,)))
    for stage in attack.stages(target, Setting(Material(rows), folder=tmp_path / "defence")):
        adapter = str(stage.artefact)
    config = make_grid(models=[{"model": str(taught_base), "defended": adapter}])
    result = run_stress(config, tmp_path / "run")
    assert cell_of(result, defended=True)["status"] == "done"
    sides = {(one["to"], one["about"]["defended"]) for one in result.summary["differences"]}
    assert ("undefended model", True) in sides
    assert ("untampered base", True) in sides


def test_a_shared_prompt_is_a_leak_found_before_any_model_is_loaded(make_grid, grid_data, tmp_path, count):
    data = dict(grid_data, safe=grid_data["compliance"])
    with pytest.raises(
        LeakError, match=r"8 of the 8 prompts of data.safe are in data.compliance too, such as row-1"
    ):
        run_stress(make_grid(data=data), tmp_path)
    assert count.take() == (0, 0)


def test_a_model_without_a_chat_template_is_refused_before_anything_is_asked(
    make_grid, make_module, tokenizer, tmp_path, count
):
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    make_module().save_pretrained(str(tmp_path / "bare"))
    bare.save_pretrained(str(tmp_path / "bare"))
    with pytest.raises(ConfigError, match="the tokenizer of this model has no chat template"):
        run_stress(make_grid(models=[{"model": str(tmp_path / "bare")}]), tmp_path / "run")
    assert count.take() == (0, 0)


def test_an_attack_without_its_data_is_refused_before_anything_is_asked(make_grid, tmp_path, count):
    with pytest.raises(EmptyDataError, match="trains on compliance rows, and there are none"):
        run_stress(make_grid(data={"compliance": [], "benign": []}), tmp_path)
    assert count.take() == (0, 0)


def test_a_judge_that_fails_on_every_row_loses_no_answer(make_grid, tmp_path, monkeypatch, count):
    from demur.stress._judges import ClassifierJudge

    def fail(judge, rows):
        raise ValueError("no")

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierJudge, "judge", fail)
        with pytest.raises(RunError, match="the judge 'keywords' failed on all 9 responses"):
            run_stress(make_grid(), tmp_path)
    assert count.take()[0] == 9
    run_stress(make_grid(), tmp_path)
    assert count.take()[0] == 36


def test_memory_that_runs_out_loses_nothing_that_was_done(make_grid, tmp_path, monkeypatch, count):
    import torch

    from demur.stress import _tune

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(_tune, "answer_loss", fail)
        with pytest.raises(NoMemoryError, match="lower the attack's batch_size or max_tokens"):
            run_stress(make_grid(), tmp_path)
    assert count.take()[0] == 18
    assert cell_of(run_stress(make_grid(), tmp_path))["status"] == "done"
    # The untouched model and step 0 are not asked again.
    assert count.take()[0] == 27


def test_a_full_disk_loses_nothing_that_was_done(make_grid, tmp_path, monkeypatch, count):
    write = ReplyFolder.write

    def fill(folder, name, *given):
        if name == "000002":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder, name, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ReplyFolder, "write", fill)
        with pytest.raises(StorageError, match="no disk space left while stressing; free some space"):
            run_stress(make_grid(), tmp_path)
    assert count.take() == (27, 2)
    assert cell_of(run_stress(make_grid(), tmp_path))["status"] == "done"
    assert count.take() == (27, 30)


def test_a_defence_of_another_base_is_refused_before_anything_is_asked(
    make_grid, make_module, tokenizer, add_adapter, make_target, tmp_path, count
):
    add_adapter(make_target(num_hidden_layers=3)).save_adapter(tmp_path / "defence")
    with pytest.raises(ConfigError, match="adapter"):
        run_stress(
            make_grid(models=[make_grid().models[0].model_dump() | {"defended": str(tmp_path / "defence")}]),
            tmp_path / "run",
        )
    assert count.take() == (0, 0)


@pytest.mark.parametrize(
    "error",
    [
        MissingModelError("the weights of 'a/b' are not here", "a/b"),
        EmptyDataError("a file that was there is empty"),
        MissingDependencyError("'bitsandbytes' is needed here"),
    ],
)
def test_what_the_machine_lacks_is_never_kept_as_a_skipped_cell(make_grid, tmp_path, monkeypatch, error):
    from demur.stress.lora import LoraAttack

    def fail(*_):
        raise error
        yield

    with monkeypatch.context() as patch:
        patch.setattr(LoraAttack, "stages", fail)
        with pytest.raises(type(error), match=str(error)):
            run_stress(make_grid(), tmp_path)
    statuses = [json.loads(path.read_text(encoding="utf-8"))["status"] for path in (tmp_path / "cells").glob("*")]
    assert statuses == ["done"]


def test_an_attack_that_cannot_be_done_is_skipped_with_its_reason_and_tried_again(make_grid, tmp_path):
    for _ in range(2):
        result = run_stress(make_grid(attacks={"revert": {}}), tmp_path)
        assert cell_of(result, "revert")["status"] == "skipped"
        assert "there is nothing to go back to" in cell_of(result, "revert")["reason"]


def test_what_grows_too_long_for_the_model_is_left_out_by_name_and_the_rest_goes_on(
    make_grid, taught_base, tmp_path
):
    shutil.copytree(taught_base, tmp_path / "short")
    config = json.loads((tmp_path / "short" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "short" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    wrappings = [{"name": "long", "text": "word " * 100 + "{request}"}, {"name": "short", "text": "Oh: {request}"}]
    (tmp_path / "own.yaml").write_text(json.dumps({"source": "us", "license": "MIT", "wrappers": wrappings}))
    result = run_stress(
        make_grid(
            models=[{"model": str(tmp_path / "short")}],
            attacks={"few_shot": {"shots": [1, 8]}, "templates": {"file": str(tmp_path / "own.yaml")}},
        ),
        tmp_path / "run",
    )
    shots, wrapped = cell_of(result, "few_shot"), cell_of(result, "templates")
    assert [stage["label"] for stage in shots["stages"]] == ["shots=1"]
    assert [stage["label"] for stage in wrapped["stages"]] == ["template=short"]
    assert re.match(r"shots=8: row \d+ needs \d+ tokens .* but the model reads 128; shorten it", shots["reason"])
    assert wrapped["reason"].startswith("template=long: row")
    assert [one["attack"] for one in result.summary["left_out"]] == ["few_shot", "templates"]


def test_prompts_that_are_too_long_as_they_are_end_the_grid(make_grid, tmp_path):
    with pytest.raises(LongRowError, match="but the model reads 512; shorten it or lower max_new_tokens"):
        run_stress(make_grid(generation={"max_new_tokens": 512}), tmp_path)


def test_few_judged_responses_saturate_no_cell(make_grid, tmp_path, monkeypatch):
    from demur.stress._judges import ClassifierJudge, Verdict

    def judge(_, rows):
        return [Verdict("complied")] + [Verdict("unscored", "no")] * (len(rows) - 1)

    monkeypatch.setattr(ClassifierJudge, "judge", judge)
    cell = cell_of(run_stress(make_grid(attacks={"lora": {"rank": 2, "steps": [0, 1, 2]}}), tmp_path))
    assert cell["censored"] is None
    assert len(cell["stages"]) == 3


def test_distances_are_of_drawn_answers_under_one_rule(make_grid, tmp_path, monkeypatch):
    seen, generate = [], Target.generate

    def watched(target, conversations, config, *args):
        seen.append((config.temperature, config.seed))
        return generate(target, conversations, config, *args)

    def embed(_, texts):
        return np.array([[len(text), text.count("e"), 1.0] for text in texts])

    monkeypatch.setattr(Target, "generate", watched)
    monkeypatch.setattr(Bench, "embed", embed)
    attacks = {"lora": {"rank": 8, "steps": [0, 2], "learning_rate": 0.01}}
    config = make_grid(attacks=attacks, distance={"enabled": True, "temperature": 0.9})
    result = run_stress(config, tmp_path)
    warm = [seed for temperature, seed in seen if temperature == 0.9]
    # The base's own draw and the two of the null; then one a stage.
    assert len(seen) == 8
    assert len(warm) == 5
    assert len(set(warm)) == 3
    cell = cell_of(result)
    kept = ReplyFolder(tmp_path / "replies" / cell["replies"])
    null = ReplyFolder(tmp_path / "replies" / cell_of(result, "direct")["replies"])
    wanted = cosine_distances(
        embed(None, null.read("null-1")[0].texts), embed(None, kept.read_drawn("000002").texts)
    )
    assert rates(cell, "rd_raw_all_median", "")[-1] == pytest.approx(np.median(wanted))


def test_responses_are_kept_as_parquet_and_tables_hold_no_text(finished):
    root, result = finished
    folder = root / "replies" / cell_of(result)["replies"]
    kept, record = ReplyFolder(folder).read("000032")
    assert kept.frame.height == 9
    assert "Sure." in kept.texts[0]
    assert record["cost"]["flops"] > 0
    for path in (root / "results").rglob("*"):
        if path.is_file():
            assert "Sure." not in path.read_text(encoding="utf-8")
    assert not [path for path in (root / "cells").glob("*") if "Sure." in path.read_text(encoding="utf-8")]


def test_ray_that_is_not_installed_is_named_with_its_extra(make_grid, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"demur\[ray\]"):
        run_stress(make_grid(engine={"kind": "ray"}), tmp_path)


class FakeRay:
    """Runs tasks at once, in the process."""

    def __init__(self):
        self.ran = []

    def is_initialized(self):
        return False

    def init(self, address, **quiet):
        assert address is None
        assert quiet["include_dashboard"] is False

    def shutdown(self):
        self.is_over = True

    def remote(self, function):
        fake = self

        class Task:
            def options(self, **resources):
                assert resources == {"num_cpus": 1, "num_gpus": 0}
                return self

            def remote(self, *args):
                fake.ran.append(function(*args))
                return len(fake.ran) - 1

        return Task()

    def wait(self, running, num_returns):
        return running[:num_returns], running[num_returns:]

    def get(self, one):
        return self.ran[one]


def test_cells_as_tasks_of_ray_give_the_same(make_grid, finished, tmp_path, monkeypatch):
    here = finished[1]
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    there = run_stress(make_grid(engine={"kind": "ray"}), tmp_path / "there")
    assert len(fake.ran) == 2
    assert fake.is_over
    assert rates(cell_of(there)) == rates(cell_of(here))


@pytest.mark.slow
def test_cells_as_tasks_of_a_real_ray_give_the_same(make_grid, finished, tmp_path):
    ray = pytest.importorskip("ray")
    here = finished[1]
    there = run_stress(make_grid(engine={"kind": "ray", "cpus": 1}), tmp_path / "there")
    assert rates(cell_of(there)) == rates(cell_of(here))
    assert not ray.is_initialized()


@pytest.mark.slow
def test_what_a_task_of_a_real_ray_raises_is_raised_as_if_here(make_grid, tmp_path):
    pytest.importorskip("ray")
    grid = make_grid(engine={"kind": "ray"}, models=[{"model": str(tmp_path / "nowhere")}])
    with pytest.raises(DemurError, match="nowhere") as here:
        run_stress(grid.model_copy(update={"engine": make_grid().engine}), tmp_path / "here")
    with pytest.raises(type(here.value), match=f"^{re.escape(str(here.value))}$"):
        run_stress(grid, tmp_path / "there")


def test_cells_that_share_work_go_one_after_the_other_on_ray(make_grid, tmp_path, monkeypatch):
    from demur.stress import _grid
    from demur.stress._jobs import Job
    from demur.stress._keys import CellKeys
    from demur.stress._place import CellPlace

    class Slow(FakeRay):
        """Ends the task that was begun last first."""

        def wait(self, running, num_returns):
            works = [self.ran[one] for one in running]
            assert len(set(works)) == len(works)
            assert len(works) <= 2
            return running[-1:], running[:-1]

    fake, model = Slow(), make_grid().models[0]
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(_grid, "run_cell", lambda job, places, *rest: places[0].keys.work)
    monkeypatch.setattr(_grid, "_base_of", lambda job, places: None)
    jobs = [Job(model, False, "lora", {"steps": [number]}, 0) for number in range(5)]
    works = ["a", "a", "b", "a", "b"]
    places = {
        _grid.job_id(job): CellPlace(tmp_path, CellKeys(work, "r", "x"))
        for job, work in zip(jobs, works, strict=True)
    }
    _grid._run_on_ray(jobs, places, None, Bench(make_grid(engine={"kind": "ray"})), None)
    assert sorted(fake.ran) == sorted(works)


KILLED = """
import os, signal, sys
from pathlib import Path
from demur.stress import load_stress, run_stress
from demur.stress import _cell
from demur.stress._tune import Tuning
moment, stages = sys.argv[3], []
look_at, ask, train = _cell.CellRun._look_at, _cell.answer_prompts, Tuning._train
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def looked_at(self, stage):
    found = look_at(self, stage)
    if not self._job.is_base:
        stages.append(stage.step)
        if moment == "stage" and len(stages) == 2:
            die()
    return found
def asked(*given):
    if moment == "answers" and len(stages) == 2:
        given = (*given[:4], lambda done, total: die() if done > total / 4 else None)
    return ask(*given)
def trained(self, step):
    if moment == "training" and step == 6:
        die()
    return train(self, step)
_cell.CellRun._look_at, _cell.answer_prompts, Tuning._train = looked_at, asked, trained
run_stress(load_stress(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("moment", "trained"),
    [
        # After the second of four stages; in the training of the third, whose last kept state is of the fourth
        # step; in the answers of the third, whose adapter is kept.
        ("stage", 30),
        pytest.param("training", 28, marks=pytest.mark.slow),
        pytest.param("answers", 24, marks=pytest.mark.slow),
    ],
)
def test_a_killed_grid_goes_on_where_it_was_and_ends_as_an_unbroken_one(
    make_grid, finished, tmp_path, count, moment, trained
):
    attacks = {
        "lora": {"rank": 8, "steps": [0, 2, 8, 32], "learning_rate": 0.01, "checkpoint_every": 4},
    }
    config = make_grid(attacks=attacks, generation={"batch_size": 3})
    path = tmp_path / "grid.json"
    path.write_text(config.model_dump_json(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(tmp_path / "run"), moment],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    resumed = run_stress(config, tmp_path / "run")
    # Of four stages two were answered before the kill.
    assert count.take() == (18, trained)
    folder, whole = finished
    assert rates(cell_of(resumed)) == rates(cell_of(whole))
    frames = [
        ReplyFolder(root / "replies" / cell_of(whole)["replies"]).read("000032")[0].frame.drop("nll")
        for root in (tmp_path / "run", folder)
    ]
    assert frames[0].equals(frames[1])


def test_two_runs_do_not_write_to_one_folder(make_grid, tmp_path):
    from demur.locks import lock_folder

    with lock_folder(tmp_path), pytest.raises(RunError, match=r"another run .* is writing to"):
        run_stress(make_grid(), tmp_path)


def test_what_was_run_stands_beside_the_results(finished):
    found = json.loads((finished[0] / "stress.json").read_text(encoding="utf-8"))
    assert found["status"] == "done"
    assert found["data"]["harmful"] == 6
    assert found["config"]["seeds"] == [0]


def test_the_result_is_fit_for_json(finished):
    shown = json.loads(json.dumps(finished[1].to_json()))
    assert [one["cell"]["attack"] for one in shown["cells"]] == ["direct", "lora"]
    assert pl.read_csv(finished[0] / "results" / "metrics" / "results_grid.csv").height > 0
