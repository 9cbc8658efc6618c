import json

import polars as pl
import pytest

from demur.data import Records
from demur.errors import ArtifactError, DataError, UsageError
from demur.models import load
from demur.serve.monitor import Reference, make_reference, read_reference, save_reference
from demur.serve.monitor._frame import join_samples
from demur.serve.monitor._sketch import pack_sketch, sketch_text
from demur.tasks import REFUSAL

from .conftest import make_traffic

SECRET = "a telltale answer that must not be in any file"


@pytest.fixture
def model(rules_folder, tmp_path):
    """A copy of its folder that may be changed."""
    import shutil

    return shutil.copytree(rules_folder, tmp_path / "model")


@pytest.fixture
def valid(rows):
    return Records.from_rows([*rows(40), {"id": "x", "prompt": "p", "response": SECRET, "refusal": "no_refusal"}])


def live():
    predictions, samples = make_traffic(30)
    frame = join_samples(REFUSAL, predictions, {(one.request_id, one.item): one for one in samples})
    return Reference("refusal", "v1", "live", frame, {"error_shares": [0.0]})


def test_a_reference_of_validation_rows_knows_scores_inputs_and_truth(model, valid):
    classifier = load(model)
    found = make_reference(classifier, valid)
    assert (len(found.frame), found.version, found.source) == (41, classifier.fingerprint, "model")
    assert found.frame["truth"].to_list() == valid.frame["refusal"].to_list()
    assert found.frame["response"][40] == pack_sketch(sketch_text(SECRET))
    assert found.facts["labelled_rows"] == 41
    assert 0 <= found.facts["accuracy"] <= 1
    assert found.frame["latency_ms"].null_count() == 41


def test_rows_without_labels_give_no_accuracy(model, valid):
    found = make_reference(load(model), Records(valid.frame.drop("refusal")))
    assert found.facts == {}


def test_it_lies_beside_the_model_which_still_loads_as_the_same(model, valid):
    before = load(model).fingerprint
    found = make_reference(load(model), valid)
    save_reference(model, found)
    assert load(model).fingerprint == before
    back = read_reference(model, "refusal", before)
    assert back.frame.equals(found.frame)
    assert (back.facts, back.at) == (found.facts, found.at)


def test_no_text_is_in_its_files(model, valid):
    save_reference(model, make_reference(load(model), valid))
    kept = b"".join(path.read_bytes() for path in (model / "monitor").iterdir())
    assert b"telltale" not in kept


def test_saving_the_model_again_takes_it_away(model, valid):
    save_reference(model, make_reference(load(model), valid))
    again = load(model)
    again.save(model)
    assert read_reference(model, "refusal", load(model).fingerprint) is None


def test_there_may_be_none(model):
    assert read_reference(model, "refusal", "v1") is None


def test_one_of_another_version_is_refused(model, valid):
    save_reference(model, make_reference(load(model), valid))
    with pytest.raises(ArtifactError, match="another version"):
        read_reference(model, "refusal", "other")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "refusal.parquet").write_bytes(b"PAR1"), "altered after saving"),
        (lambda folder: (folder / "refusal.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "refusal.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "refusal.parquet").unlink(), "damaged"),
    ],
)
def test_a_damaged_one_is_refused(model, valid, change, words):
    found = make_reference(load(model), valid)
    save_reference(model, found)
    change(model / "monitor")
    with pytest.raises(ArtifactError, match=words):
        read_reference(model, "refusal", found.version)


def test_one_of_a_newer_format_is_refused(model, valid):
    found = make_reference(load(model), valid)
    save_reference(model, found)
    path = model / "monitor" / "refusal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}))
    with pytest.raises(ArtifactError, match="has format 9"):
        read_reference(model, "refusal", found.version)


def test_a_folder_without_a_model_takes_none(tmp_path):
    with pytest.raises(ArtifactError, match="not a saved demur model"):
        save_reference(tmp_path, live())


def test_a_classifier_that_was_not_saved_has_none(valid):
    from demur.models import find_family

    family, config = find_family("rules", None, {}, "the test")
    with pytest.raises(UsageError, match="a reference is of a saved model"):
        make_reference(family(REFUSAL, config), valid)


def test_no_rows_are_no_reference(model, valid):
    with pytest.raises(UsageError, match="compares with nothing"):
        make_reference(load(model), valid.take(range(0)))


def test_it_goes_through_the_store(store):
    found = live()
    store.add_reference(found.to_row("ref1"))
    back = Reference.from_row(store.reference("ref1"))
    assert back.frame.equals(found.frame)
    assert (back.version, back.source, back.facts) == ("v1", "live", {"error_shares": [0.0]})


@pytest.mark.parametrize("payload", ["", "no base64", "QUJD"])
def test_what_is_damaged_in_the_store_is_refused(payload):
    from dataclasses import replace

    with pytest.raises(DataError, match="take a new reference"):
        Reference.from_row(replace(live().to_row("ref1"), payload=payload))


def test_columns_of_another_version_are_refused():
    other = Reference("refusal", "v1", "live", pl.DataFrame({"label": ["a"]}))
    with pytest.raises(DataError, match="other columns"):
        Reference.from_row(other.to_row("ref1"))
