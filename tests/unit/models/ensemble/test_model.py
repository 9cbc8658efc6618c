import json

import numpy as np
import pytest

import demur
from demur.config import parse_settings
from demur.errors import ArtifactError
from demur.metrics import Bootstrap
from demur.models import ReadyConfig, make_ready, read_manifest
from demur.models.ensemble import EnsembleClassifier, EnsembleConfig, measure_diversity
from demur.models.ensemble._combine import fit_stack, mix, vote_hard, vote_soft, weigh_by_loss, weigh_by_score
from demur.models.ensemble._train import Trainer
from demur.tasks import PROMPT_RISK, REFUSAL

METHODS = [
    {"method": "soft"},
    {"method": "hard"},
    {"method": "weighted"},
    {"method": "weighted", "weigh_by": "security_score"},
    {"method": "stacking"},
]
every_method = pytest.mark.parametrize("settings", METHODS, ids=lambda one: "-".join(one.values()))


def new(settings=None, task=REFUSAL):
    values = {"members": ["tfidf_nb", "tfidf_logreg"], "folds": 3} | (settings or {})
    return EnsembleClassifier(task, parse_settings(EnsembleConfig, values))


@pytest.fixture(scope="module")
def made(labelled):
    """Maker of a fitted ensemble of two light members, once for each method: ``made(settings)``."""
    kept = {}

    def make(settings):
        key = json.dumps(settings)
        if key not in kept:
            kept[key] = new(settings).fit(labelled(REFUSAL, n=90))
        return kept[key]

    return make


@every_method
def test_its_answer_is_that_of_the_formula_on_its_members(made, labelled, settings):
    classifier, rows = made(settings), labelled(REFUSAL, n=90)
    p = classifier.judge(rows)
    folds = Trainer(classifier.config, REFUSAL, 0, None, {}).fit_folds(rows)
    wanted = {
        "soft": lambda: vote_soft(p),
        "hard": lambda: vote_hard(p),
        "weighted-security_score": lambda: mix(weigh_by_score(REFUSAL, folds.y, folds.probabilities), p),
        "weighted": lambda: mix(weigh_by_loss(folds.y, folds.probabilities), p),
        "stacking": lambda: fit_stack(folds.y, folds.probabilities, 1.0, True).apply(p),
    }["-".join(settings.values())]()
    np.testing.assert_allclose(classifier.predict_proba(rows), wanted, atol=1e-12)


@every_method
def test_a_loaded_ensemble_is_the_saved_one_with_its_members(made, labelled, tmp_path, settings):
    classifier, rows = made(settings), labelled(REFUSAL, n=90)
    classifier.save(tmp_path / "model")
    loaded = demur.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(rows), classifier.predict_proba(rows))
    np.testing.assert_array_equal(loaded.judge(rows), classifier.judge(rows))
    assert loaded.diversity == classifier.diversity
    for number in range(2):
        member = demur.load(tmp_path / "model" / "members" / str(number))
        np.testing.assert_array_equal(member.predict_proba(rows), classifier.judge(rows)[number])


@pytest.mark.parametrize("name", ["ensemble.json", "members/1/model.skops", "members/0/demur.json"])
def test_an_altered_file_of_a_member_is_named(made, tmp_path, name):
    made({"method": "stacking"}).save(tmp_path / "model")
    assert name in read_manifest(tmp_path / "model")["files"]
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=f"'{name}' .* was altered after saving"):
        demur.load(tmp_path / "model")


def test_weights_and_stack_are_learned_out_of_fold_and_diversity_with_them(made, labelled):
    rows = labelled(REFUSAL, n=90)
    classifier = made({"method": "weighted"})
    folds = Trainer(classifier.config, REFUSAL, 0, None, {}).fit_folds(rows)
    wanted = measure_diversity(("tfidf_nb", "tfidf_logreg"), folds.y, folds.probabilities, folds.groups)
    found = classifier.diversity
    assert (found["rows"], found["method"], found["n"]) == ("out-of-fold", "weighted", 90)
    assert found["pairs"] == wanted["pairs"]
    assert [member["weight"] for member in found["members"]] == classifier.weights.tolist()
    json.dumps(found, allow_nan=False)


def test_voters_are_compared_on_rows_held_out_from_them(labelled):
    classifier = new().fit(labelled(REFUSAL, n=90))
    assert classifier.diversity is None
    held = labelled(REFUSAL, n=150).take(range(90, 150))
    report = make_ready(classifier, held, ReadyConfig(alpha=0.2), intervals=Bootstrap(draws=20))
    assert report.rows == 60
    assert (classifier.diversity["rows"], classifier.diversity["n"]) == ("held-out", 60)


def test_learning_again_forgets_the_last_fit(labelled):
    classifier = new().fit(labelled(REFUSAL))
    classifier.study(labelled(REFUSAL))
    first = classifier.diversity
    classifier.fit(labelled(REFUSAL, n=30))
    assert first is not None
    assert classifier.diversity is None


def test_members_make_up_for_each_other(labelled):
    """One member reads the prompt alone and one the response alone; each class needs one of them."""
    sides = [{"family": "classical", "settings": {"fields": [field]}} for field in ("prompt", "response")]
    train, test = told(0), told(600)
    ensemble = new({"members": sides, "method": "stacking"}).fit(train)
    y = test.targets(REFUSAL)
    alone = [(one.argmax(axis=1) == y).mean() for one in ensemble.judge(test)]
    assert (ensemble.predict(test).class_ids == y).mean() > max(alone) + 0.1


def told(first):
    """Rows whose prompt tells class 0 from the rest, and whose response tells class 2 from the rest."""
    from demur.data import Records

    generator = np.random.default_rng(first)
    rows = []
    for number in range(first, first + 300):
        label = int(generator.integers(0, 3))
        asked = "river bridge" if label == 0 else "clock wheel"
        answered = "apple bread" if label == 2 else "violin drum"
        words = " ".join(generator.choice(["the", "of", "and", "while", "again"], 3))
        row = {"prompt": f"{asked} {words} {number}", "response": f"{answered} {words}"}
        rows.append(row | {"refusal": REFUSAL.labels[label]})
    return Records.from_rows(rows)


def test_it_reads_what_any_member_reads():
    one = {"family": "classical", "settings": {"fields": ["response"]}}
    other = {"family": "classical", "settings": {"fields": ["response"], "c": 2.0}}
    assert new({"members": [one, other]}).reads == ("response",)
    assert new({"members": [one, "tfidf_nb"]}).reads == ("prompt", "response")
    assert new(task=PROMPT_RISK).reads == ("prompt",)


@pytest.mark.slow
def test_a_network_that_watches_rows_is_a_member_like_another(labelled, tmp_path):
    train = {"epochs": 1, "batch_size": 16}
    sizes = {"embeddings": "random", "vocabulary": 320, "embedding_dim": 16, "filters": 8, "max_tokens": 48}
    network = {"preset": "neural_cnn", "settings": {**sizes, "prompt_tokens": 16, "train": train}}
    rows = labelled(REFUSAL, n=90)
    classifier = new({"members": ["tfidf_nb", network], "method": "stacking", "folds": 2})
    classifier.checkpoint_folder = tmp_path / "checkpoints"
    classifier.fit(rows).save(tmp_path / "model")
    assert len(classifier.diversity["members"]) == 2
    np.testing.assert_array_equal(
        demur.load(tmp_path / "model").predict_proba(rows), classifier.predict_proba(rows)
    )


def test_it_names_no_features(made):
    assert made({"method": "soft"}).top_features() is None


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["vote_soft", "vote_hard", "vote_weighted", "stacking"])
def test_presets_learn_the_starter_corpus(preset):
    from demur.data import load_starter, split_records
    from demur.models import find_preset

    rows = load_starter("desk").labelled(REFUSAL)
    split = split_records(rows, REFUSAL)
    family, settings = find_preset(preset)
    classifier = family(REFUSAL, parse_settings(EnsembleConfig, settings)).fit(rows.take(split.train))
    test = rows.take(split.test)
    assert (classifier.predict(test).class_ids == test.targets(REFUSAL)).mean() > 0.6


def test_a_member_that_learns_several_tasks_is_given_the_others(make_checkpoint, labelled, tasks):
    small = {"model": str(make_checkpoint("bert")), "max_tokens": 24, "prompt_tokens": 8}
    small |= {"train": {"epochs": 1, "batch_size": 8}, "valid_share": 0}
    config = EnsembleConfig(members=["tfidf_nb", {"family": "dual", "settings": small}])
    classifier = EnsembleClassifier(tasks["refusal"], config, 0)
    assert classifier.wants_companions
    other = tasks["jailbreak"]
    classifier.companions = {other.name: (other, labelled(other, n=12))}
    classifier.fit(labelled(tasks["refusal"], n=24))
    assert set(classifier._members[1].companions) == {"jailbreak"}
    assert "jailbreak" in {task.name for task in classifier._members[1].tasks}
