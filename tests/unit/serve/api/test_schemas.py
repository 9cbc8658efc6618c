import pytest
from pydantic import ValidationError

from demur.serve.api import error_responses
from demur.serve.api._schemas import ClassifyBody, ErrorBody, Item


def test_a_text_that_was_not_given_is_not_the_empty_text():
    item = Item.model_validate({"response": ""})
    assert (item.text("prompt"), item.text("response")) == (None, "")


def test_an_item_needs_a_text():
    with pytest.raises(ValidationError, match="needs a prompt, a response, or both"):
        Item.model_validate({"id": "a"})


@pytest.mark.parametrize("given", [{"prompt": "a"}, [{"prompt": "a"}, {"response": "b"}]])
def test_one_item_or_several_may_be_given(given):
    body = ClassifyBody.model_validate({"input": given})
    assert isinstance(body.input, list) is isinstance(given, list)


def test_errors_of_every_status_have_the_same_body():
    found = error_responses(400, 503)
    assert set(found) == {400, 503}
    assert all(one["model"] is ErrorBody and one["description"] for one in found.values())
