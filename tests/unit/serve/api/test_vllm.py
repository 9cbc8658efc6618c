import pytest

REFUSED = "I'm sorry, but I can't help with that."


def ask(guard, given, **rest):
    return guard.ask("POST", "/classify", json={"input": given, **rest})


def test_texts_are_judged_by_one_task_in_vllms_shape(guard, valid_against):
    answer = ask(guard, ["Here is how.", REFUSED], model="refusal")
    valid_against(answer, "/classify")
    found = answer.json()
    assert (found["object"], found["model"]) == ("list", "rules")
    assert [(one["index"], one["label"], one["num_classes"]) for one in found["data"]] == [
        (0, "no_refusal", 3),
        (1, "hard_refusal", 3),
    ]
    assert all(abs(sum(one["probs"]) - 1) < 1e-9 for one in found["data"])
    assert found["usage"] == {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0}


def test_one_text_is_one_row(guard):
    assert len(ask(guard, REFUSED).json()["data"]) == 1


def test_a_task_that_judges_prompts_is_given_the_text_as_one(guard):
    assert ask(guard, "How do I keep bread fresh?", model="prompt_risk").json()["data"][0]["label"] == "benign"


def test_a_model_of_several_tasks_must_be_told_which(make_guard, dual_folder, error_of):
    guard = make_guard([dual_folder])
    assert error_of(ask(guard, "x", model="dual"), 422)["param"] == "model"
    assert ask(guard, "x", model="jailbreak").json()["data"][0]["num_classes"] == 2


def test_a_model_that_is_not_there_is_not_found(guard, error_of):
    error_of(ask(guard, "x", model="gpt"), 404)


@pytest.mark.parametrize("given", [None, [], [[1, 2]], {"a": 1}])
def test_what_is_no_text_is_refused(guard, error_of, given):
    error_of(ask(guard, given), 422)
