"""Tests of `demur stress` as a command; the grid itself is tested in `stress/`."""

import json
from types import SimpleNamespace

import pytest

from demur.cli.main import run_command


def stage(rrr):
    return {"metrics": [{"metric": "rrr", "judge": "keywords", "value": rrr}]}


def curve(metric, values):
    points = [
        {"step": step, "label": "", "value": value, "low": value and value - 0.1, "high": value and value + 0.1}
        for step, value in enumerate(values)
    ]
    about = {"model": "tiny", "defended": False, "attack": "lora"}
    return {"about": about, "judge": "keywords", "metric": metric, "points": points, "n_seeds": 2}


class Ran:
    """Stands in for the grid: notes what it was run with."""

    def __init__(self, status="done"):
        self.status, self.config, self.out = status, None, None

    def __call__(self, config, out, progress):
        self.config, self.out = config, out
        cell = {"status": self.status, "reason": "it broke", "censored": {"step": 4}}
        cell["stages"] = [stage(0.9), stage(0.1)]
        progress.start(2, 1)
        progress.cell("tiny · lora")
        progress.detail("step 4", 0.5)
        progress.end("tiny · lora", cell)
        summary = {"judges": ["keywords"], "curves": [curve("rrr", [0.9, 0.1]), curve("complied", [0.1, None])]}
        return SimpleNamespace(folder=out, cells=(cell,), summary=summary, to_json=lambda: {"ran": True})


@pytest.fixture
def ran(monkeypatch):
    import demur.report.stress
    import demur.stress

    found = Ran()
    monkeypatch.setattr(demur.stress, "run_stress", found, raising=False)
    monkeypatch.setattr(demur.report.stress, "write_stress_report", lambda folder: folder / "stress.html")
    return found


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("attacks: {lora: {}}\ndata: {harmful: a.jsonl}\n", encoding="utf-8")
    return str(path)


def test_a_configuration_alone_runs_the_grid(ran, config, tmp_path, capsys):
    assert run_command(["stress", config, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert "1 of 2 cells were done before" in shown.err
    assert "tiny · lora: refused 0.90 to 0.10, saturated at step 4" in shown.err
    assert "0.90 [0.80, 1.00]" in shown.out
    assert "step 1" in shown.out


def test_flags_win_over_the_file(ran, config, tmp_path):
    assert run_command(["stress", config, "-o", str(tmp_path), "--seeds", "4,5", "--limit", "3"]) == 0
    assert (ran.config.seeds, ran.config.limit, ran.out) == ((4, 5), 3, tmp_path)


def test_json_is_the_whole_output(ran, config, tmp_path, capsys):
    assert run_command(["stress", config, "--json", "-o", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"ran": True}


def test_a_failed_cell_is_told_and_ends_with_1(ran, config, tmp_path, capsys):
    ran.status = "failed"
    assert run_command(["stress", config, "-o", str(tmp_path)]) == 1
    assert "tiny · lora: failed (it broke)" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_one_sentence(capsys):
    assert run_command(["stress", "nowhere.yaml"]) == 2
    assert "demur: no configuration file nowhere.yaml" in capsys.readouterr().err


def test_help_is_of_the_group_and_of_the_run(capsys):
    assert run_command(["stress", "--help"]) == 0
    assert "demur stress CONFIG" in " ".join(capsys.readouterr().out.split())
    assert run_command(["stress", "run", "--help"]) == 0
    assert "--limit" in capsys.readouterr().out


def test_a_run_ends_with_its_page(ran, config, tmp_path, capsys):
    assert run_command(["stress", config, "--out", str(tmp_path / "run")]) == 0
    assert "stress.html" in capsys.readouterr().out


def test_without_a_report_there_is_no_page(ran, config, tmp_path, capsys):
    assert run_command(["stress", config, "--out", str(tmp_path / "run"), "--no-report"]) == 0
    assert "stress.html" not in capsys.readouterr().out


def test_a_run_without_plotting_says_so_and_ends_well(ran, config, tmp_path, monkeypatch, capsys):
    import demur.report.stress
    from demur.errors import MissingDependencyError

    def refuse(folder):
        raise MissingDependencyError("matplotlib is not installed; pip install 'demur[report]'")

    monkeypatch.setattr(demur.report.stress, "write_stress_report", refuse)
    assert run_command(["stress", config, "--out", str(tmp_path / "run")]) == 0
    assert "no page: matplotlib is not installed" in capsys.readouterr().err


def test_figures_draws_a_folder_again(ran, tmp_path, capsys):
    assert run_command(["stress", "figures", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "stress.html")
