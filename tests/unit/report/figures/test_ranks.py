import pytest

from demur.report import RunView
from demur.report.figures._ranks import draw_pairs, draw_ranks
from demur.report.figures._style import styled


@pytest.fixture(autouse=True)
def _look():
    with styled():
        yield


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_models_stand_by_mean_rank_with_the_critical_difference(run, refusal):
    drawing = draw_ranks(run, refusal)
    (axis,) = drawing.figure.axes
    ranks = run.statistics(refusal)["protocols"]["leave_one_source_out"]["ranks"]["custom_score"]["ranks"]
    shown = [label.get_text().replace("★ ", "").replace("\n", "") for label in axis.get_yticklabels()]
    assert shown == ranks["models"]
    assert f"critical difference {ranks['critical_difference']:.2f}" in texts(axis)
    assert "Leave one source out, 4 sources." in drawing.caption
    assert "only large and steady differences show in ranks" in drawing.caption


def test_the_caption_says_where_friedmans_p_comes_from(run, edit):
    def agree(results):
        for task in results["tasks"].values():
            for protocol in task["statistics"]["protocols"].values():
                for ranks in protocol["ranks"].values():
                    (ranks["ranks"] or {}).update(f_statistic=None, f_p=0.02)

    assert "(Iman and Davenport's F)" in draw_ranks(run, run.tasks[0]).caption
    view = RunView(edit(run.folder, agree))
    assert "(exact, since all parts rank alike) gives p = 0.02" in draw_ranks(view, view.tasks[0]).caption


def test_a_bar_joins_each_run_of_models_the_ranks_do_not_tell_apart(run, refusal):
    ranks = run.statistics(refusal)["protocols"]["leave_one_source_out"]["ranks"]["custom_score"]["ranks"]
    (axis,) = draw_ranks(run, refusal).figure.axes
    bars = [line for line in axis.lines if line.get_linewidth() == 3.2]
    assert len(bars) == len(ranks["cliques"])
    for bar, clique in zip(bars, ranks["cliques"], strict=True):
        low, high = bar.get_ydata()
        assert round(high - low - 0.44) + 1 == len(clique)


def test_without_ranks_there_is_no_picture(small_run, edit):
    view = RunView(edit(small_run, lambda results: results["tasks"]["jailbreak"].update(statistics={})))
    assert draw_ranks(view, view.tasks[0]) is None
    assert draw_pairs(view, view.tasks[0]) is None


def test_a_cell_is_the_rows_model_less_the_columns(run, refusal):
    drawing = draw_pairs(run, refusal)
    (axis,) = drawing.figure.axes
    first, *_, last = refusal.ranked()
    gap = first.metric("custom_score").value - last.metric("custom_score").value
    by_place = {(text.get_position()[1], text.get_position()[0]): text for text in axis.texts}
    assert by_place[0, 4].get_text() == f"{gap:+.2f}"
    assert by_place[4, 0].get_text() == f"{-gap:+.2f}".replace("-", "−")
    assert len(by_place) == 20


def test_only_pairs_that_differ_after_correction_are_bold(small_run, edit):
    def decide(results):
        pairs = results["tasks"]["jailbreak"]["statistics"]["protocols"]["test"]["pairs"]
        for place, pair in enumerate(pairs):
            pair["metrics"]["custom_score"]["p_holm"] = 0.01 if place == 0 else 0.5

    view = RunView(edit(small_run, decide))
    drawing = draw_pairs(view, view.tasks[0])
    bold = [text for text in drawing.figure.axes[0].texts if text.get_weight() == "bold"]
    assert len(bold) == 2
    assert "1 of 10 pairs differ after correction." in drawing.alt
