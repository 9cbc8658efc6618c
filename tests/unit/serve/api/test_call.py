import pytest

from demur.serve.api import get_call
from demur.serve.api._call import KEY, new_call


def test_a_valid_id_of_the_caller_is_taken():
    call = new_call("order-17.a:b")
    assert (call.request_id, call.given_id) == ("order-17.a:b", "order-17.a:b")


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a\nb", "ü"])
def test_otherwise_one_is_made(given):
    first, second = new_call(given), new_call(given)
    assert first.given_id is None
    assert first.request_id != second.request_id
    assert len(first.request_id) == 32


def test_the_call_of_a_request_is_found():
    class Request:
        scope = {KEY: new_call(None)}  # noqa: RUF012

    assert get_call(Request()) is Request.scope[KEY]
    assert get_call(Request()).seconds >= 0
