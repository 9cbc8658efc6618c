"""Tests of what is struck out of logs, whatever brought it there."""

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.secrets import Redactor, RedactSecrets

SECRET = "tops3cret/key!"


@pytest.fixture
def redactor():
    one = Redactor()
    one.learn(SECRET)
    return one


@pytest.fixture
def log(redactor):
    """A logger of its own whose lines are looked at, filtered as the server filters: ``log.text()``."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    handler.addFilter(RedactSecrets(redactor))
    logger = logging.Logger("demur.test", logging.DEBUG)
    logger.addHandler(handler)
    logger.text = stream.getvalue
    return logger


def test_nothing_is_changed_while_nothing_is_known():
    assert Redactor().redact(SECRET) == SECRET


def test_a_known_secret_becomes_stars_plain_and_encoded(redactor):
    said = redactor.redact(f"a {SECRET} b tops3cret%2Fkey%21 c tops3cret/key%21 d")
    assert said == "a ********** b ********** c ********** d"


def test_of_a_url_only_the_password_is_struck_out():
    redactor = Redactor()
    redactor.learn("postgresql://demur:p%40ss%2Fword@db:5432/demur")
    assert (
        redactor.redact("p@ss/word at db:5432/demur, p%40ss%2Fword") == "********** at db:5432/demur, **********"
    )


def test_a_url_without_password_is_struck_out_whole():
    redactor = Redactor()
    redactor.learn("https://hooks.example/T1/B2/abcdef")
    assert redactor.redact("POST https://hooks.example/T1/B2/abcdef failed") == "POST ********** failed"


@pytest.mark.parametrize("odd", ["http://[::1", "", "x", "ab12"])
def test_odd_and_short_texts_do_no_harm(odd):
    redactor = Redactor()
    redactor.learn(odd)
    assert redactor.redact("a word in a box") == "a word in a box"


def test_the_longer_of_two_secrets_goes_first(redactor):
    redactor.learn(f"{SECRET}-and-more")
    assert redactor.redact(f"{SECRET}-and-more") == "**********"


@given(st.lists(st.text(min_size=6, max_size=12), min_size=1, max_size=6), st.text(max_size=40))
def test_no_known_secret_survives(secrets, around):
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret)
    said = redactor.redact(around.join(secrets))
    assert not [one for one in secrets if one in said and not set(one) <= {"*"}]


def test_a_message_and_its_arguments_lose_the_secret(log):
    log.warning("connecting with %s failed", SECRET)
    assert log.text() == "demur.test WARNING connecting with ********** failed\n"


def test_a_traceback_loses_the_secret(log):
    try:
        raise ConnectionError(f"cannot reach https://host/{SECRET}")
    except ConnectionError:
        log.exception("alert")
    assert SECRET not in log.text()
    assert "ConnectionError: cannot reach https://host/**********" in log.text()
    assert "Traceback" in log.text()


def test_further_fields_lose_the_secret_at_any_depth(redactor):
    record = logging.makeLogRecord(
        {"msg": "x", "url": SECRET, "facts": {"a": [SECRET, 1], "b": None}, "number": 3}
    )
    assert RedactSecrets(redactor).filter(record) is True
    assert (record.url, record.facts, record.number) == ("**********", {"a": ["**********", 1], "b": None}, 3)


def test_the_name_of_a_logger_is_left_alone():
    redactor = Redactor()
    redactor.learn("demur.serve")
    record = logging.makeLogRecord({"name": "demur.serve.api", "msg": "demur.serve is a password here"})
    RedactSecrets(redactor).filter(record)
    assert (record.name, record.getMessage()) == ("demur.serve.api", "********** is a password here")


def test_arguments_that_do_not_fit_do_not_end_a_request(log):
    log.warning("two %s %s", SECRET)
    assert log.text() == "demur.test WARNING two %s %s\n"


def test_a_message_with_per_cent_signs_is_formatted_once(log):
    log.warning("%s", "100 % of 5%d")
    assert log.text() == "demur.test WARNING 100 % of 5%d\n"


def test_a_json_line_made_of_a_record_has_no_secret(redactor):
    record = logging.makeLogRecord({"msg": "to %s", "args": (SECRET,), "request": {"header": SECRET}})
    RedactSecrets(redactor).filter(record)
    assert SECRET not in json.dumps(vars(record))
