from dataclasses import replace

from demur.serve.dashboard._history import view_flagged, view_models, view_retrains
from demur.serve.dashboard._local import LoadedModel


def test_the_registry_says_what_this_worker_has(filled, local):
    champion = next(row for row in filled.models if row.task == "refusal")
    known = replace(
        local,
        models=[LoadedModel(champion.name, champion.version, ["refusal"], "onnx", 0)],
        problems={"77be" * 10: "the folder is gone"},
    )
    lines = {one.name: one for one in view_models(filled, known) if one.task == "refusal"}
    assert (lines["tfidf_logreg"].where, lines["tfidf_logreg"].is_champion) == ("loaded, onnx", True)
    assert (lines["deberta_lora"].where, lines["deberta_lora"].score) == ("—", "0.912 (security score)")
    assert lines["tfidf_nb"].problem == "the folder is gone"
    assert lines["deberta_lora"].parent == champion.version[:12]


def test_retrainings_say_how_they_ended_and_how_long_they_took(filled):
    lines = view_retrains(filled)
    assert [(one.stage, one.mood) for one in lines] == [
        ("comparing", "watch"),
        ("failed", "bad"),
        ("rejected", "bad"),
        ("promoted", "good"),
    ]
    assert lines[0].took == "80 min so far"
    assert lines[3].took == "25 h"
    assert "want of memory" in lines[1].reason


def test_texts_are_cut_and_only_there_where_they_were_read(filled):
    (first, *_) = view_flagged(filled, 20)
    assert [name for name, _ in first.texts] == ["Prompt", "Response"]
    assert all(text.endswith("…") and len(text) == 21 for _, text in first.texts)
    bare = replace(filled, flagged=[replace(row, prompt=None, response=None) for row in filled.flagged])
    assert {one.texts for one in view_flagged(bare, 20)} == {()}
    assert "prompt of" in view_flagged(bare, 20)[0].about
