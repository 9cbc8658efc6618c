"""Heads see blocks of one size; the kernel machine is even-handed, small on disk and exact when read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ArtifactError, ConfigError
from demur.models import list_presets, load
from demur.models.embedding import EmbeddingClassifier, EmbeddingConfig
from demur.tasks import REFUSAL


@pytest.fixture(scope="module")
def make(make_checkpoint):
    def build(seed=0, **settings):
        encoder = str(make_checkpoint("bert"))
        config = EmbeddingConfig.model_validate({"encoder": encoder, "max_tokens": 32} | settings)
        return EmbeddingClassifier(REFUSAL, config, seed)

    return build


@pytest.mark.parametrize("name", [*EmbeddingClassifier.presets])
def test_presets_are_listed_and_valid(name):
    family, settings = list_presets()[name]
    assert family == "embedding"
    assert EmbeddingConfig.model_validate(settings).encoder == "embedded:minilm"


def test_the_plain_preset_has_views_alone():
    config = EmbeddingConfig.model_validate(EmbeddingClassifier.presets["minilm_logreg"])
    assert config.views == ("response", "prompt", "product")
    assert (config.lexical, config.anchors, config.features, config.head) == (False, False, None, "logreg")


@pytest.mark.parametrize("head", ["logreg", "svc", "prototype", "knn"])
def test_it_learns_what_the_texts_tell(make, small_records, head):
    model = make(head=head, lexical=True).fit(small_records)
    assert (model.predict_proba(small_records).argmax(axis=1) == small_records.targets(REFUSAL)).mean() > 0.9


@pytest.mark.parametrize(
    ("head", "features"), [("logreg", None), ("logreg", {"min_df": 1}), ("prototype", None), ("knn", None)]
)
def test_what_is_not_seeded_has_one_answer(make, small_records, head, features):
    models = [make(seed, head=head, features=features).fit(small_records) for seed in (1, 2)]
    assert not any(model.is_seeded for model in models)
    first, second = (model.predict_proba(small_records) for model in models)
    assert np.array_equal(first, second)
    assert make(head="svc").is_seeded


def test_the_kernel_does_not_depend_on_the_size_of_all_blocks(make, small_records):
    plain = make(head="svc", lexical=True).fit(small_records).predict_proba(small_records)
    large = make(head="svc", lexical=True, embedding_weight=4, lexical_weight=4).fit(small_records)
    np.testing.assert_allclose(large.predict_proba(small_records), plain, atol=1e-6)


@pytest.mark.parametrize(
    ("head", "features"),
    [("logreg", None), ("logreg", {"min_df": 1}), ("svc", None), ("prototype", None), ("knn", None)],
)
def test_a_saved_model_gives_the_same_probabilities(make, small_records, tmp_path, head, features):
    model = make(head=head, lexical=True, anchors=True, features=features).fit(small_records)
    model.save(tmp_path / "model")
    loaded = EmbeddingClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(small_records), model.predict_proba(small_records))


def test_a_rare_class_is_not_swamped(make, small_records):
    labels = small_records.column("refusal")
    soft = np.flatnonzero(labels == "soft_refusal")
    rows = small_records.take([*np.flatnonzero(labels == "hard_refusal"), *soft[:5]])
    found = make(head="svc", lexical=True).fit(rows).predict(rows).labels
    assert found[-5:] == ["soft_refusal"] * 5


def test_a_class_without_rows_gets_no_probability(make, small_records):
    rows = small_records.take(np.flatnonzero(small_records.column("refusal") != "no_refusal"))
    assert make().fit(rows).predict_proba(small_records)[:, 0].max() == 0


def test_an_encoder_of_another_width_is_refused(make, small_records, tmp_path):
    model = make().fit(small_records)
    folder = tmp_path / "model"
    folder.mkdir()
    model._write(folder)
    (folder / "encoder.json").write_text('{"encoder": "other", "dimension": 7}')
    with pytest.raises(ArtifactError, match=r"gives 16 numbers a text, the model in .* was trained on 7; use the"):
        make()._read(folder)


@pytest.fixture
def own_encoder(make_checkpoint, tmp_path):
    """A copy of the tiny encoder that a test may change."""
    return Path(shutil.copytree(make_checkpoint("bert"), tmp_path / "encoder"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_encoder_changed_since_training_is_refused_before_it_is_used(
    make, small_records, own_encoder, tmp_path, monkeypatch, name
):
    make(encoder=str(own_encoder)).fit(small_records).save(tmp_path / "model")
    (own_encoder / name).write_bytes((own_encoder / name).read_bytes() + b" ")
    monkeypatch.setattr("demur.models.embedding._model.find_store", None)
    with pytest.raises(ArtifactError, match=r"is not the one that the model in .* was trained with"):
        load(tmp_path / "model")


def test_an_encoder_that_went_away_is_named(make, small_records, own_encoder, tmp_path):
    make(encoder=str(own_encoder)).fit(small_records).save(tmp_path / "model")
    shutil.rmtree(own_encoder)
    with pytest.raises(ArtifactError, match=r"which loading does not fetch: there is no model folder"):
        load(tmp_path / "model")


def test_loading_never_asks_a_hub(make, small_records, tmp_path, monkeypatch):
    make().fit(small_records).save(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "demur.json").read_text())
    manifest["config"]["encoder"] = "someone/some-encoder"
    (tmp_path / "model" / "demur.json").write_text(json.dumps(manifest))
    asked = []

    def snapshot(name, local_files_only=False, **_):
        asked.append(local_files_only)
        raise FileNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(ArtifactError, match=r"fetch it first \(hf download someone/some-encoder\), or give"):
        load(tmp_path / "model")
    assert asked == [True]


def test_a_model_saved_without_a_hash_still_loads(make, small_records, tmp_path):
    model = make().fit(small_records)
    folder = tmp_path / "model"
    folder.mkdir()
    model._write(folder)
    named = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({name: named[name] for name in ("encoder", "dimension")}))
    again = make()
    again._read(folder)
    np.testing.assert_array_equal(again.predict_proba(small_records), model.predict_proba(small_records))


@pytest.mark.parametrize("pooling", ["cls", "max", "mean_max"])
def test_every_pooling_learns_and_is_saved(make, small_records, tmp_path, pooling):
    model = make(pooling=pooling, anchors=True).fit(small_records)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load(tmp_path / "model").predict_proba(small_records), model.predict_proba(small_records)
    )


def test_an_mpnet_encoder_reads_as_many_tokens_as_it_has_places_for(
    make, make_checkpoint, small_records, tmp_path
):
    encoder = str(make_checkpoint("mpnet"))
    model = make(encoder=encoder, max_tokens=128).fit(small_records)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(small_records), model.predict_proba(small_records))
    with pytest.raises(ConfigError, match="reads at most 130 tokens; lower it"):
        make(encoder=encoder, max_tokens=131).fit(small_records)


@pytest.mark.parametrize("head", ["logreg", "svc", "prototype", "knn"])
def test_eight_examples_a_class_beat_chance(rows, head):
    few, others = Records.from_rows(rows(24)), Records.from_rows(rows(60, first=500))
    model = EmbeddingClassifier(REFUSAL, EmbeddingConfig(head=head, max_tokens=64)).fit(few)
    found, targets = model.predict_proba(others), others.targets(REFUSAL)
    assert (found.argmax(axis=1) == targets).mean() > 0.6
    # Better than even odds by log-likelihood too: the probabilities mean something.
    assert np.log(found[np.arange(60), targets]).mean() > np.log(1 / 3)


@pytest.mark.parametrize("head", ["logreg", "svc", "prototype", "knn"])
@pytest.mark.parametrize("only", [1, 2])
def test_a_row_a_class_is_enough_to_run(make, small_records, head, only):
    labels = small_records.column("refusal")
    picked = [number for label in REFUSAL.labels for number in np.flatnonzero(labels == label)[:only]]
    found = make(head=head).fit(small_records.take(picked)).predict_proba(small_records)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_record_is_judged_alike_alone_and_among_others(make, small_records):
    model = make(lexical=True, anchors=True).fit(small_records)
    one = Records.from_rows([{"prompt": "how do you make tea", "response": "I can't help with that."}])
    among = Records.concat([small_records, one])
    np.testing.assert_allclose(model.predict_proba(among)[-1], model.predict_proba(one)[0], atol=1e-6)
