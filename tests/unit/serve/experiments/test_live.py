import collections

import pytest

from demur.errors import StoreUnavailableError
from demur.serve.experiments import CHAMPION, ExperimentRouter, Move, assign_arm, live_experiments, move_experiment
from demur.serve.experiments import set_weights as change_weights
from demur.serve.experiments._moves import config_of
from demur.serve.pool import Route, Router, Shadow
from demur.store import open_store

from .conftest import START

SUBJECTS = [f"s{number}" for number in range(2000)]


@pytest.fixture
def router(store):
    return ExperimentRouter(store)


def test_it_is_a_router_of_the_pool(router):
    assert isinstance(router, Router)


def test_without_experiments_the_champion_answers(router, begin, store):
    begin(store, None)
    router.refresh()
    assert router.route("refusal", "s1") == Route()
    assert list(router.wanted()) == []


def test_in_the_shadow_the_champion_answers_and_challengers_judge(router, begin, store):
    row = begin(store, "shadow", challengers=[{"version": "v2", "name": "a"}, {"version": "v3", "name": "b"}])
    router.refresh()
    shadows = (Shadow("v2", "a"), Shadow("v3", "b"))
    assert router.route("refusal", "s1") == Route("v1", row.id, CHAMPION, shadows)
    assert router.route("jailbreak", "s1") == Route()
    assert sorted(router.wanted()) == [("refusal", "v2"), ("refusal", "v3")]


def test_running_each_subject_keeps_its_arm_in_every_worker(router, begin, store):
    row = begin(store, challengers=[{"version": "v2", "weight": 0.1}])
    router.refresh()
    other = ExperimentRouter(store)
    other.refresh()
    routes = [router.route("refusal", subject) for subject in SUBJECTS]
    assert routes == [other.route("refusal", subject) for subject in SUBJECTS]
    assert {(one.version, one.arm) for one in routes} == {("v1", CHAMPION), ("v2", "challenger")}
    assert {(one.experiment, one.shadows) for one in routes} == {(row.id, ())}
    share = sum(one.arm == "challenger" for one in routes) / len(routes)
    assert share == pytest.approx(1 / 6, abs=0.03)
    config = config_of(row)
    assert routes[0].arm == assign_arm(config.weights, SUBJECTS[0], row.id, config.salt)


def test_without_a_subject_a_request_is_given_an_arm_by_chance(router, begin, store):
    begin(store)
    router.refresh()
    counts = collections.Counter(router.route("refusal", None).arm for _ in range(1000))
    assert min(counts.values()) > 400


def test_new_weights_move_only_whom_they_must(router, begin, store):
    row = begin(store)
    router.refresh()
    before = [router.route("refusal", subject).arm for subject in SUBJECTS]
    change_weights(store, row.id, {"challenger": 1.0}, START)
    router.refresh()
    after = [router.route("refusal", subject).arm for subject in SUBJECTS]
    moved = {pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]}
    assert moved == {(CHAMPION, "challenger")}


def test_after_the_end_the_champion_answers(router, begin, store):
    row = begin(store)
    router.refresh()
    move_experiment(store, row.id, Move("rolled_back"), START)
    router.refresh()
    assert router.route("refusal", "s1") == Route()


def test_failures_are_handed_in_with_the_next_refresh(router, begin, store):
    row = begin(store)
    router.failed(row.id, "challenger")
    router.failed(row.id, "challenger", 2)
    router.failed(None, None)
    router.refresh()
    router.refresh()
    assert [event.facts for event in store.events(row.id, kind="failures")] == [{"arm": "challenger", "count": 3}]


def test_what_was_known_holds_while_the_database_is_down(begin, postgres_server, postgres):
    from .conftest import open_filled

    with open_filled(postgres) as store:
        row = begin(store)
        router = ExperimentRouter(store)
        router.refresh()
        before = router.route("refusal", "s1")
        router.failed(row.id, "challenger")
        postgres_server.stop()
        try:
            with pytest.raises(StoreUnavailableError, match=r"."):
                router.refresh()
        finally:
            postgres_server.start()
        assert router.route("refusal", "s1") == before
        router.refresh()
        assert len(store.events(row.id, kind="failures")) == 1


def test_an_experiment_of_another_version_is_passed_over(router, begin, store, url):
    row = begin(store)
    with open_store(url) as other, other._write() as connection:
        connection.exec_driver_sql("UPDATE demur_experiments SET config = '{\"unheard\": 1}'")
    assert live_experiments(store) == {}
    router.refresh()
    assert router.route("refusal", "s1") == Route()
    assert store.experiment(row.id).stage == "running"
