import pytest

REFUSED = "I'm sorry, but I can't help with that."


def ask(guard, given, **rest):
    return guard.ask("POST", "/v1/moderations", json={"input": given, **rest})


def test_a_text_is_judged_in_openais_shape(guard, valid_against):
    answer = ask(guard, REFUSED)
    valid_against(answer, "/v1/moderations")
    found = answer.json()
    assert set(found) == {"id", "model", "results"}
    (result,) = found["results"]
    assert result["flagged"]
    assert result["categories"] == {
        "refusal/hard_refusal": True,
        "refusal/soft_refusal": False,
        "prompt_risk/malicious": False,
    }
    assert set(result["category_scores"]) == set(result["categories"])
    assert set(map(tuple, result["category_applied_input_types"].values())) == {("text",)}


def test_what_no_task_flags_is_not_flagged(guard):
    (result,) = ask(guard, "Here is how.").json()["results"]
    assert not result["flagged"]
    assert not any(result["categories"].values())


def test_several_texts_have_a_result_each_and_parts_have_one(guard):
    assert len(ask(guard, ["Here is how.", REFUSED]).json()["results"]) == 2
    parts = [{"type": "text", "text": REFUSED}, {"type": "text", "text": "and more"}]
    (result,) = ask(guard, parts).json()["results"]
    assert result["categories"]["refusal/hard_refusal"]


def test_each_task_is_given_the_text_as_what_it_judges(guard):
    ask(guard, "Here is how.")
    rows = {row.task: row for row in guard.rows()}
    assert (rows["refusal"].prompt_chars, rows["refusal"].response_chars) == (0, 12)
    assert (rows["prompt_risk"].prompt_chars, rows["prompt_risk"].response_chars) == (12, 0)


@pytest.mark.parametrize("model", ["omni-moderation-latest", "text-moderation-stable", None])
def test_names_of_openais_models_stand_for_all_tasks(guard, model):
    found = ask(guard, "x", model=model).json()
    assert {one.split("/")[0] for one in found["results"][0]["categories"]} == {"refusal", "prompt_risk"}


@pytest.mark.parametrize("model", ["refusal", "rules"])
def test_a_task_or_a_model_can_be_named(guard, model):
    found = ask(guard, "x", model=model).json()
    assert {one.split("/")[0] for one in found["results"][0]["categories"]} == {"refusal"}
    assert found["model"] == "rules"


def test_a_model_that_is_not_there_is_not_found(guard, error_of):
    assert error_of(ask(guard, "x", model="gpt"), 404)["param"] == "model"


def test_keys_of_openais_that_are_not_known_are_ignored(guard):
    assert ask(guard, "x", user="somebody").status_code == 200


@pytest.mark.parametrize(
    "given", [None, 5, [], [5], {}, [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]]
)
def test_what_is_no_text_is_refused(guard, error_of, given):
    error_of(ask(guard, given), 422)


def test_feedback_on_a_moderation_is_taken(guard):
    found = ask(guard, ["a", REFUSED]).json()
    body = {"id": found["id"], "item": 1, "task": "refusal", "label": "soft_refusal"}
    assert guard.ask("POST", "/v1/feedback", json=body).status_code == 200
