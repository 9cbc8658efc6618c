import json

import pytest

from demur.report import RunView
from demur.report.figures._style import styled
from demur.report.figures._training import draw_learning, draw_weights


@pytest.fixture(autouse=True)
def _look():
    with styled():
        yield


def test_losses_and_score_are_drawn_by_epoch(run, refusal):
    drawing = draw_learning(run, refusal)
    losses, scores = drawing.figure.axes
    assert [len(line.get_xdata()) for line in losses.lines] == [6, 6]
    assert list(scores.lines[0].get_ydata()) == pytest.approx([0.42, 0.52, 0.58, 0.6, 0.58, 0.52])
    assert "minilm_finetuned: 6 evaluations, best score 0.60" in drawing.alt


def test_the_chosen_epoch_is_ringed(run, refusal):
    _, scores = draw_learning(run, refusal).figure.axes
    assert (list(scores.lines[1].get_xdata()), list(scores.lines[1].get_ydata())) == ([4.0], [0.6])


@pytest.mark.parametrize("history", [None, [], ["x"], [{"loss": 1.0}]])
def test_a_curve_without_epochs_is_left_out(small_run, history):
    path = small_run / "curves/jailbreak/minilm_finetuned.json"
    path.write_text(json.dumps({"history": history}))
    view = RunView(small_run)
    assert draw_learning(view, view.tasks[0]) is None


def test_a_single_evaluation_is_a_dot_and_missing_values_are_gaps(small_run):
    path = small_run / "curves/jailbreak/minilm_finetuned.json"
    path.write_text(json.dumps({"history": [{"epoch": 1, "loss": 0.7, "valid_loss": None, "score": 0.5}]}))
    view = RunView(small_run)
    losses, scores = draw_learning(view, view.tasks[0]).figure.axes
    assert [line.get_marker() for line in losses.lines] == ["o"]
    assert len(scores.lines) == 1


def test_weights_are_steps_from_start_to_end(run, refusal):
    drawing = draw_weights(run, refusal)
    (axis,) = [axis for axis in drawing.figure.axes if axis.get_visible()]
    moved = axis.lines[2]
    assert list(moved.get_ydata()) == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.3])
    assert list(moved.get_xdata())[:4] == [0, 20, 30, 40]
    assert "soft_refusal 1.30" in drawing.alt


def test_without_adaptive_weights_there_is_no_picture(small_run):
    (small_run / "curves/jailbreak/alpha_trajectory_minilm_finetuned.json").unlink()
    view = RunView(small_run)
    assert draw_weights(view, view.tasks[0]) is None


def test_of_very_many_models_the_rest_is_counted(many_folder, monkeypatch):
    monkeypatch.setattr("demur.report.figures._training._MOST_PANELS", 2)
    view = RunView(many_folder)
    drawing = draw_weights(view, view.tasks[0])
    assert len(drawing.figure.axes) == 2
    assert "1 more models are not drawn." in drawing.caption
