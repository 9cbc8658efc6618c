import json

import pytest

from demur.models import load
from demur.serve.api._classify import json_response, why_skipped
from demur.tasks import PROMPT_RISK, REFUSAL

REFUSED = "I'm sorry, but I can't help with that."
ITEM = {"prompt": "How do I keep bread fresh?", "response": REFUSED}


def ask(guard, item, **rest):
    return guard.ask("POST", "/v1/classify", json={"input": item, **rest})


def test_every_loaded_task_answers(guard, rules_folder, valid_against):
    answer = ask(guard, ITEM)
    assert answer.status_code == 200
    valid_against(answer, "/v1/classify")
    found = answer.json()
    (result,) = found["results"]
    told = result["tasks"]["refusal"]
    expected = load(rules_folder).predict([ITEM])
    assert told["label"] == expected.labels[0] == "hard_refusal"
    assert list(told["probabilities"].values()) == expected.probabilities[0].tolist()
    assert (told["model"], told["version"]) == ("rules", load(rules_folder).fingerprint)
    assert set(result["tasks"]) == {"refusal", "prompt_risk"}
    assert result["skipped"] == {}
    assert found["latency_ms"] > 0


def test_many_items_are_answered_in_their_order(guard):
    items = [{"id": str(number), "response": REFUSED if number % 3 else "Here it is."} for number in range(50)]
    results = ask(guard, items).json()["results"]
    assert [one["id"] for one in results] == [item["id"] for item in items]
    labels = [one["tasks"]["refusal"]["label"] for one in results]
    assert labels == ["hard_refusal" if number % 3 else "no_refusal" for number in range(50)]


def test_tasks_can_be_chosen(guard):
    (result,) = ask(guard, ITEM, tasks=["prompt_risk"]).json()["results"]
    assert list(result["tasks"]) == ["prompt_risk"]
    assert result["skipped"] == {}


@pytest.mark.parametrize(
    ("item", "answered", "skipped"),
    [
        ({"prompt": "a"}, "prompt_risk", {"refusal": "it judges the response, which the item has not"}),
        ({"response": "a"}, "refusal", {"prompt_risk": "it judges the prompt, which the item has not"}),
    ],
)
def test_a_task_whose_text_is_not_there_is_said_to_be_skipped(guard, item, answered, skipped):
    (result,) = ask(guard, item).json()["results"]
    assert list(result["tasks"]) == [answered]
    assert result["skipped"] == skipped


def test_an_empty_text_is_judged(guard):
    (result,) = ask(guard, {"response": ""}).json()["results"]
    assert result["tasks"]["refusal"]["label"] == "no_refusal"


def test_a_model_with_operating_points_says_what_is_flagged(make_guard, ready_folder):
    (result,) = ask(make_guard([ready_folder]), ITEM).json()["results"]
    told = result["tasks"]["refusal"]
    assert set(told["thresholds"]) == {"fpr_10", "fpr_20"}
    assert told["flagged"] == {
        name: told["threat_score"] > told["thresholds"][name] for name in told["thresholds"]
    }
    assert isinstance(told["unsure"], bool)


def test_a_model_of_two_tasks_answers_both(make_guard, dual_folder):
    (result,) = ask(make_guard([dual_folder]), ITEM).json()["results"]
    assert set(result["tasks"]) == {"refusal", "jailbreak"}


def test_a_task_that_is_not_loaded_is_not_found(guard, error_of):
    error = error_of(ask(guard, ITEM, tasks=["weather"]), 404)
    assert error["param"] == "tasks"
    assert "loaded: " in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": {}}, "input"),
        ({"input": []}, "input"),
        ({"input": "text"}, "input"),
        ({"input": {"prompt": 5}}, "input.prompt"),
        ({"input": {"prompt": None}}, "input.prompt"),
        ({"input": [{"prompt": "a"}, {"id": "b"}]}, "input.1"),
        ({"input": {"prompt": "a", "text": "b"}}, "input"),
        ({"input": {"prompt": "a"}, "task": ["refusal"]}, None),
        ({"input": {"prompt": "a"}, "tasks": []}, "tasks"),
        ({"input": {"prompt": "a"}, "subject": ""}, "subject"),
        ({"input": {"prompt": "a", "id": "x" * 129}}, "input.id"),
        ([1], None),
    ],
)
def test_a_body_that_does_not_fit_names_the_key(guard, error_of, body, param):
    error = error_of(guard.ask("POST", "/v1/classify", json=body), 422)
    assert error["param"] == param


def test_too_many_items_are_refused(make_guard, error_of):
    guard = make_guard(limits={"max_items": 3})
    assert ask(guard, [ITEM] * 3).status_code == 200
    error = error_of(ask(guard, [ITEM] * 4), 422)
    assert error["message"] == "4 items are more than 3; send them in parts"


def test_too_long_texts_are_refused(make_guard, error_of):
    guard = make_guard(limits={"max_chars": 10})
    assert ask(guard, {"response": "é" * 10}).status_code == 200
    error_of(ask(guard, {"response": "é" * 11}), 422)


def test_nan_is_never_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_response({"a": float("nan")})
    assert json.loads(json_response({"a": "é"}).body) == {"a": "é"}


def test_why_a_task_did_not_answer():
    assert "the response" in why_skipped(REFUSAL)
    assert "the prompt" in why_skipped(PROMPT_RISK)
