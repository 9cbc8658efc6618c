"""What a model may die of, each for real and small: a status and one line of reason, and the run goes on."""

import json
import sys

import pytest

from demur.experiment import load_experiment, run_experiment

TRAIN = {"epochs": 1, "batch_size": 16}


@pytest.fixture
def go(config_file, tmp_path):
    """Runs rules and further models on tiny rows; gives their results by name, and the task's."""

    def run(*models, **changes):
        path = config_file(models=["rules", *models], **changes)
        result = run_experiment(load_experiment(path), out=tmp_path / "out")
        task = json.loads((result.folder / "experiment_results.json").read_text())["tasks"]["refusal"]
        return {model["model"]: model for model in task["models"]}, task

    return run


@pytest.fixture(scope="module")
def broken_encoder(tmp_path_factory):
    """A tiny encoder with a weight that is no number, as a training that diverged leaves it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "what"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    module = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **size))
    with torch.no_grad():
        module.encoder.layer[0].output.dense.weight[0, 0] = float("nan")
    module.save_pretrained(folder)
    return folder


def test_a_loss_that_is_no_number_fails_the_model(go, broken_encoder):
    settings = {"model": str(broken_encoder), "max_tokens": 16, "prompt_tokens": 4, "train": TRAIN}
    models, task = go({"name": "diverged", "family": "transformer", "settings": settings})
    assert models["diverged"]["status"] == "failed"
    assert models["diverged"]["reason"].startswith("the loss became nan at step 1; lower train.learning_rate")
    assert (models["rules"]["status"], task["winner"]) == ("ok", "rules")


def test_a_network_that_cannot_fit_into_memory_fails_before_its_first_step_with_the_remedy(go, monkeypatch):
    monkeypatch.setattr("demur.training._memory.free_memory", lambda device=None: 1e6)
    settings = {"embeddings": "random", "train": TRAIN}
    models, _ = go({"name": "large", "family": "neural", "settings": settings})
    assert models["large"]["status"] == "failed"
    assert "training needs about" in models["large"]["reason"]


def test_memory_that_runs_out_all_the_same_fails_the_model(go, monkeypatch):
    def allocate(self, *arguments):
        import numpy as np

        np.empty(2**58)

    monkeypatch.setattr("demur.models.classical.ClassicalClassifier._fit", allocate)
    models, _ = go("tfidf_nb")
    assert models["tfidf_nb"]["status"] == "failed"
    assert "MemoryError: Unable to allocate" in models["tfidf_nb"]["reason"]
    assert models["tfidf_nb"]["reason"].endswith("take fewer rows, smaller batches or a smaller model")


def test_weights_that_are_not_here_while_no_hub_answers_skip_the_model(go, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = {"model": "nobody/of-this-name", "train": TRAIN}
    models, _ = go({"name": "away", "family": "transformer", "settings": settings})
    assert models["away"]["status"] == "skipped"
    assert "nobody/of-this-name" in models["away"]["reason"]


def test_a_library_that_is_not_installed_skips_the_model_and_names_the_extra(go, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    models, _ = go("tfidf_xgboost")
    assert models["tfidf_xgboost"]["status"] == "skipped"
    assert "pip install 'demur[boost]'" in models["tfidf_xgboost"]["reason"]


def lopsided(rows):
    """Rows of three sources: one alone has refusals of one kind, one has a single class."""
    found = []
    for row in rows:
        source = {"hard_refusal": "hard", "soft_refusal": "mixed", "no_refusal": "mixed"}[row["refusal"]]
        found.append({**row, "source": source})
    return found


def test_a_held_out_class_gives_a_row_a_warning_and_a_defined_score(go, write, rows):
    """The source ``hard`` alone has hard refusals: held out, nothing teaches them; kept, it judges one class."""
    data = [{"path": str(write(lopsided(rows())))}]
    models, task = go("tfidf_nb", "tfidf_xgboost", data=data, validation={"leave_one_out": ["source"]})
    by_fold = {row["fold"]: row for row in task["protocols"]}
    assert by_fold["hard"]["missing_train"] == ["hard_refusal"]
    assert by_fold["hard"]["reason"].startswith("no training row has the label hard_refusal")
    assert (by_fold["mixed"]["status"], by_fold["mixed"]["reason"]) == (
        "skipped",
        "the training rows have one class only",
    )
    assert any("no training row has the label hard_refusal" in words for words in task["warnings"])
    for name in ("tfidf_nb", "tfidf_xgboost"):
        held = models[name]["evaluations"]["leave_one_source_out"]["folds"]
        assert list(held) == ["hard"]
        assert held["hard"]["metrics"]["custom_score"]["value"] is not None
        assert held["hard"]["warnings"]


def test_a_fold_of_one_class_is_left_out_and_the_others_are_judged(go, write, rows):
    """One group holds every row of the second class, so the fold that tests it has one class to learn."""
    common = rows(100, labels=("no_refusal",))
    rare = [{**row, "group": "all of them"} for row in rows(20, labels=("hard_refusal",), first=900)]
    data = [{"path": str(write([*common, *rare]))}]
    models, task = go("tfidf_nb", data=data, validation={"cv": 3, "leave_one_out": []})
    states = sorted(row["status"] for row in task["protocols"])
    assert states == ["ok", "ok", "skipped"]
    cv = models["tfidf_nb"]["evaluations"]["cv"]
    assert len(cv["folds"]) == 2
    assert cv["metrics"]["custom_score"]["value"] is not None
    assert any("was left out, its training rows have one class only" in words for words in task["warnings"])


def test_blind_rows_without_a_class_give_a_defined_score_and_a_warning(go, write, rows):
    blind = rows(20, labels=("no_refusal", "soft_refusal"), first=900)
    models, _ = go(blind=[{"path": str(write(blind, "blind.jsonl"))}])
    found = models["rules"]["evaluations"]["blind"]
    assert found["metrics"]["custom_score"]["value"] is not None
    assert any("hard_refusal" in words for words in found["warnings"])
