"""Tests of secrets in the environment."""

from demur.serve.secrets.environment import EnvironmentSource


def test_a_variable_is_given_and_an_absent_one_is_none(monkeypatch):
    monkeypatch.setenv("THE_KEY", "value")
    assert EnvironmentSource().get("THE_KEY") == "value"
    assert EnvironmentSource().get("THE_OTHER_KEY") is None


def test_the_value_before_is_a_variable_beside_it(monkeypatch):
    monkeypatch.setenv("THE_KEY", "new")
    assert EnvironmentSource().get("THE_KEY", "previous") is None
    monkeypatch.setenv("THE_KEY_PREVIOUS", "old")
    assert EnvironmentSource().get("THE_KEY", "previous") == "old"


def test_a_name_that_no_variable_can_have_is_simply_not_there():
    assert EnvironmentSource().get("prod/demur=x") is None
