import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from demur.errors import ArtifactError
from demur.models import load, load_onnx
from demur.serve.batching import BatchingConfig, Job, QueueClosedError
from demur.serve.pool import LoadOptions, Texts, load_model
from demur.serve.pool._model import is_reentrant

ROWS = [
    ("what of alpha", "I cannot help with alpha."),
    (None, "Here is the answer to it: beta, then gamma."),
    ("what of gamma", "  I could say a little on gamma.\r\n"),
]
TEXTS = [Texts(prompt, response) for prompt, response in ROWS]
RECORDS = [{"prompt": prompt, "response": response} for prompt, response in ROWS]


@pytest.fixture
def open_model():
    made = []

    def start(folder, **options):
        made.append(load_model(folder, "name", LoadOptions(**options)))
        return made[-1]

    yield start
    for model in made:
        model.close(20)


def ask(model, rows):
    """What the threads of a model answer."""
    ended = threading.Event()
    job = Job(rows, [one.length for one in rows], time.monotonic() + 60, lambda job: ended.set())
    model.submit(job)
    assert ended.wait(20)
    assert job.error is None, job.error
    return job.answers


@pytest.mark.parametrize("folder", ["rules_folder", "ready_folder"])
def test_a_served_model_says_what_the_classifier_says(folder, request, open_model):
    folder = request.getfixturevalue(folder)
    predictions = load(folder).predict(RECORDS)
    found = [answer["refusal"] for answer in open_model(folder).judge(TEXTS)]
    assert [one.label for one in found] == predictions.labels
    assert [list(one.probabilities.values()) for one in found] == predictions.probabilities.tolist()


def test_its_threads_answer_the_same(ready_folder, open_model):
    model = open_model(ready_folder)
    assert ask(model, TEXTS) == model.judge(TEXTS)


def test_it_knows_its_name_version_and_thresholds(ready_folder, open_model):
    model = open_model(ready_folder)
    assert (model.name, model.version, model.runtime) == ("name", load(ready_folder).fingerprint, "native")
    assert [task.name for task in model.tasks] == ["refusal"]
    assert set(model.thresholds["refusal"]) == {"fpr_10", "fpr_20"}
    assert model.waiting == 0


def test_several_tasks_are_answered_in_one_pass(dual_folder, open_model):
    model = open_model(dual_folder)
    expected = load_onnx(dual_folder).predict_all(RECORDS)
    assert model.runtime in ("int8", "fp32")
    assert [task.name for task in model.tasks] == ["refusal", "jailbreak"]
    answers = model.judge(TEXTS)
    for task, predictions in expected.items():
        assert [one[task].label for one in answers] == predictions.labels
        assert [list(one[task].probabilities.values()) for one in answers] == predictions.probabilities.tolist()


def test_an_onnx_model_is_judged_with_from_several_threads(dual_folder, rules_folder, open_model):
    model = open_model(dual_folder, threads=3, batching=BatchingConfig(max_rows=2))
    assert is_reentrant(model._classifier)
    assert not is_reentrant(open_model(rules_folder)._classifier)
    expected = model.judge(TEXTS)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: ask(model, TEXTS), range(12)))
    assert found == [expected] * 12


def test_the_runtime_can_be_chosen(dual_folder, open_model):
    assert open_model(dual_folder, runtime="native").runtime == "native"


def test_batches_are_observed_with_the_version(rules_folder, open_model):
    seen = []
    model = open_model(rules_folder, observe=lambda version, stats: seen.append((version, stats.rows)))
    ask(model, TEXTS)
    model.close(20)
    assert seen == [(model.version, 3)]


def test_what_users_send_is_not_remembered(ready_folder, open_model):
    model = open_model(ready_folder)
    model.judge([Texts("", "a text that nobody shall keep")])
    kept = [value for value in vars(model._classifier).values() if "nobody shall keep" in repr(value)]
    assert kept == []


def test_a_closed_model_takes_no_more_rows(rules_folder, open_model):
    model = open_model(rules_folder)
    assert model.close(20)
    with pytest.raises(QueueClosedError, match="replaced"):
        ask(model, TEXTS)


def test_a_damaged_model_is_refused(rules_folder, tmp_path):
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(rules_folder, folder)
    (folder / "rules.json").write_text("{}")
    with pytest.raises(ArtifactError, match="was altered after saving"):
        load_model(folder, "damaged")
