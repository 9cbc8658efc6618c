"""Tests of looking secrets up: how long one is kept, what a rotation is seen by, what a source that fails does."""

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import SecretError, SecretUnavailableError
from demur.serve.secrets import Secrets, SecretSettings, SecretText

KEY = SecretText("${secret:KEY}")


@pytest.fixture
def opened(clock):
    """Maker of secrets over sources: ``opened(drawer, ttl_s=60)``."""
    return lambda *sources, **settings: Secrets(
        SecretSettings(**{"ttl_s": 60, "retry_s": 10} | settings),
        {f"source{number}": source for number, source in enumerate(sources)},
        clock,
    )


def test_a_text_without_a_name_is_revealed_as_it_is(opened, drawer):
    assert opened(drawer()).reveal(SecretText("sqlite:///demur.db")) == "sqlite:///demur.db"


def test_a_source_is_asked_once_while_a_value_is_good(opened, drawer, clock):
    source = drawer(KEY="one")
    secrets = opened(source)
    for _ in range(3):
        assert secrets.reveal(KEY) == "one"
        clock.now_s += 19
    assert source.asked == [("KEY", "current")]


def test_a_changed_secret_is_seen_after_its_time(opened, drawer, clock):
    source = drawer(KEY="one")
    secrets = opened(source)
    secrets.reveal(KEY)
    source.held["KEY"] = "two"
    assert secrets.reveal(KEY) == "one"
    clock.now_s += 60
    assert secrets.reveal(KEY) == "two"


def test_a_changed_secret_is_seen_at_once_after_a_refresh(opened, drawer):
    source = drawer(KEY="one")
    secrets = opened(source)
    secrets.reveal(KEY)
    source.held["KEY"] = "two"
    secrets.refresh()
    assert secrets.reveal(KEY) == "two"


def test_without_time_to_keep_it_every_look_up_asks(opened, drawer):
    source = drawer(KEY="one")
    secrets = opened(source, ttl_s=0)
    assert [secrets.reveal(KEY), secrets.reveal(KEY)] == ["one", "one"]
    assert len(source.asked) == 2


def test_a_source_that_fails_leaves_the_last_value_in_use_and_says_so(opened, drawer, clock, caplog):
    source = drawer(KEY="the-value")
    secrets = opened(source)
    secrets.reveal(KEY)
    source.is_shut = True
    clock.now_s += 60
    with caplog.at_level(logging.WARNING):
        assert secrets.reveal(KEY) == "the-value"
    assert caplog.messages == ["the last value of the secret 'KEY' stays in use: the drawer is shut; open it"]


def test_a_source_that_fails_is_tried_again_after_the_shorter_time(opened, drawer, clock):
    source = drawer(KEY="one")
    secrets = opened(source)
    secrets.reveal(KEY)
    source.is_shut = True
    clock.now_s += 60
    secrets.reveal(KEY)
    source.is_shut, source.held["KEY"] = False, "two"
    clock.now_s += 9
    assert secrets.reveal(KEY) == "one"
    clock.now_s += 1
    assert secrets.reveal(KEY) == "two"


def test_a_secret_that_is_gone_stays_in_use_too(opened, drawer, clock, caplog):
    source = drawer(KEY="one")
    secrets = opened(source)
    secrets.reveal(KEY)
    del source.held["KEY"]
    clock.now_s += 60
    with caplog.at_level(logging.WARNING):
        assert secrets.reveal(KEY) == "one"
    assert "'KEY' stays in use: the secret 'KEY' is nowhere (looked in: drawer)" in caplog.text


def test_a_source_that_fails_at_the_start_is_an_error_and_the_next_is_not_asked(opened, drawer):
    """The next one may hold an older value."""
    shut, other = drawer(), drawer(KEY="older")
    shut.is_shut = True
    with pytest.raises(SecretUnavailableError, match="the drawer is shut; open it"):
        opened(shut, other).reveal(KEY)
    assert other.asked == []


def test_a_look_up_that_failed_is_not_remembered(opened, drawer):
    source = drawer()
    secrets = opened(source)
    with pytest.raises(SecretError, match="'KEY' is nowhere"):
        secrets.reveal(KEY)
    source.held["KEY"] = "one"
    assert secrets.reveal(KEY) == "one"


def test_an_empty_value_counts_as_none(opened, drawer):
    assert opened(drawer(KEY=""), drawer(KEY="second")).reveal(KEY) == "second"


def test_it_is_told_where_each_was_found(opened, drawer):
    secrets = opened(drawer(A="1"), drawer(A="2", B='{"k": "3"}'))
    assert secrets.source_of(SecretText("${secret:A} ${secret:B#k}")) == {"A": "source0", "B#k": "source1"}


@pytest.mark.parametrize(("held", "value"), [('{"k": "v", "port": 5432}', "v"), ('{"k": 5432}', "5432")])
def test_a_key_of_a_json_secret_is_taken_out(opened, drawer, held, value):
    assert opened(drawer(DB=held)).reveal(SecretText("${secret:DB#k}")) == value


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("tops3cret!", "'DB' is no JSON object, so it has no key 'password'; leave out '#password'"),
        ('["tops3cret!"]', "'DB' is no JSON object"),
        ('"tops3cret!"', "'DB' is no JSON object"),
        ('{"passwort": "tops3cret!"}', "'password' of the secret 'DB' is not in it; did you mean 'passwort'?"),
        ('{"password": {"a": "tops3cret!"}}', "'password' of the secret 'DB' is not a text"),
        ('{"password": null, "b": "tops3cret!"}', "'password' of the secret 'DB' is not a text"),
        ('{"password": true, "b": "tops3cret!"}', "'password' of the secret 'DB' is not a text"),
        ('{"password": "", "b": "tops3cret!"}', "'password' of the secret 'DB' is not a text"),
        ("[" * 100_000 + "tops3cret!", "'DB' is no JSON object"),
    ],
)
def test_a_json_secret_without_the_key_is_refused_without_showing_it(opened, drawer, held, said):
    with pytest.raises(SecretError, match=r"the (secret|key) ") as caught:
        opened(drawer(DB=held)).reveal(SecretText("${secret:DB#password}"))
    assert said in str(caught.value)
    chain, error = [], caught.value
    while error is not None:
        chain.append(error)
        error = error.__context__
    assert not [one for one in chain if "tops3cret!" in f"{one} {vars(one)}"]


def test_the_value_before_is_accepted_beside_the_one_in_force(opened, drawer):
    secrets = opened(drawer(KEY="new", KEY_PREVIOUS="old"))
    assert secrets.reveal(KEY) == "new"
    assert secrets.accepted(KEY) == ("new", "old")


def test_without_a_value_before_only_the_one_in_force_is_accepted(opened, drawer):
    assert opened(drawer(KEY="new")).accepted(KEY) == ("new",)
    assert opened(drawer(KEY="same", KEY_PREVIOUS="same")).accepted(KEY) == ("same",)
    assert opened(drawer()).accepted(SecretText("a literal")) == ("a literal",)


def test_the_value_before_comes_from_the_source_of_the_one_in_force(opened, drawer):
    assert opened(drawer(KEY_PREVIOUS="elsewhere"), drawer(KEY="new")).accepted(KEY) == ("new",)


def test_the_value_before_goes_when_the_source_drops_it(opened, drawer):
    source = drawer(KEY="new", KEY_PREVIOUS="old")
    secrets = opened(source)
    secrets.accepted(KEY)
    del source.held["KEY_PREVIOUS"]
    assert secrets.accepted(KEY) == ("new", "old")
    secrets.refresh()
    assert secrets.accepted(KEY) == ("new",)


def test_of_a_text_with_several_names_the_one_that_was_not_rotated_stays(opened, drawer):
    secrets = opened(drawer(A="a2", A_PREVIOUS="a1", B="b"))
    assert secrets.accepted(SecretText("${secret:A}-${secret:B}")) == ("a2-b", "a1-b")


def test_a_json_secret_whose_older_value_lacks_the_key_has_no_value_before(opened, drawer):
    secrets = opened(drawer(DB='{"k": "new"}', DB_PREVIOUS="plain"))
    assert secrets.accepted(SecretText("${secret:DB#k}")) == ("new",)


def test_what_was_looked_up_is_struck_out_of_texts(opened, drawer):
    secrets = opened(drawer(KEY="tops3cret!", KEY_PREVIOUS="older-s3cret"))
    secrets.accepted(KEY)
    secrets.reveal(SecretText("postgresql://demur:literal-pw@db/demur"))
    said = secrets.redact("tops3cret! older-s3cret literal-pw tops3cret%21 db/demur")
    assert said == f"{'*' * 10} {'*' * 10} {'*' * 10} {'*' * 10} db/demur"


def test_a_host_and_a_user_name_of_a_database_secret_stay_readable(opened, drawer):
    secrets = opened(drawer(DB='{"username": "demur-app", "host": "db.internal", "password": "tops3cret!"}'))
    url = SecretText("postgresql://${secret:DB#username}:${secret:DB#password}@${secret:DB#host}/demur")
    assert secrets.redact(secrets.reveal(url)) == f"postgresql://demur-app:{'*' * 10}@db.internal/demur"


def test_neither_secrets_nor_what_they_keep_print_a_value(opened, drawer):
    secrets = opened(drawer(KEY="tops3cret!"))
    secrets.reveal(KEY)
    shown = f"{secrets} {secrets!r} {secrets._entries!r}"
    assert "tops3cret!" not in shown


def test_threads_that_ask_at_once_cost_one_look_up(opened, drawer):
    source, secrets = drawer(KEY="one"), None
    secrets = opened(source)
    start = threading.Barrier(8)
    found = []

    def ask():
        start.wait()
        found.append(secrets.reveal(KEY))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == ["one"] * 8
    assert len(source.asked) == 1


def test_while_one_thread_looks_up_again_the_others_go_on_with_the_last_value(opened, drawer, clock):
    asked, may_answer = threading.Event(), threading.Event()

    class Slow(drawer):
        def get(self, name, stage="current"):
            if self.asked:
                asked.set()
                assert may_answer.wait(10)
            return super().get(name, stage)

    source = Slow(KEY="one")
    secrets = opened(source)
    secrets.reveal(KEY)
    source.held["KEY"] = "two"
    clock.now_s += 60
    found = []
    thread = threading.Thread(target=lambda: found.append(secrets.reveal(KEY)))
    thread.start()
    assert asked.wait(10)
    assert secrets.reveal(KEY) == "one"
    may_answer.set()
    thread.join(10)
    assert (found, secrets.reveal(KEY)) == (["two"], "two")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.integers(0, 90)),
            st.tuples(st.just("set"), st.integers(0, 9)),
            st.just(("refresh", 0)),
        ),
        max_size=30,
    )
)
def test_a_value_is_never_older_than_its_time(steps):
    """Whatever happens in between, what is revealed was right at some moment of the last 60 seconds."""
    now, past = [0.0], [(0.0, "0")]

    class Source:
        def get(self, name, stage="current"):
            return past[-1][1]

        def where(self):
            return "here"

    secrets = Secrets(SecretSettings(ttl_s=60), {"here": Source()}, lambda: now[0])
    for act, number in steps:
        if act == "wait":
            now[0] += number
        elif act == "set":
            past.append((now[0], str(number)))
        else:
            secrets.refresh()
        shown = secrets.reveal(KEY)
        if act == "refresh":
            assert shown == past[-1][1]
        until = [*(at for at, _ in past[1:]), float("inf")]
        assert shown in [value for (_, value), end in zip(past, until, strict=True) if end > now[0] - 60]
