from datetime import timedelta

import pytest

from demur.errors import StoreError, UnknownRowError, UsageError
from demur.serve.experiments import Move, create_experiment, move_experiment, set_weights
from demur.serve.experiments._moves import config_of
from demur.tasks import REFUSAL

from .conftest import START


def test_a_new_experiment_is_a_draft_with_everything_filled_in(store, make_config):
    row = create_experiment(store, make_config(), START, "key1")
    assert store.experiment(row.id) == row
    assert (row.stage, row.at, row.task) == ("draft", START, "refusal")
    config = config_of(row)
    assert config.threat_labels == REFUSAL.threat_labels
    assert len(config.salt) == 32
    assert store.events(row.id)[0].facts == {"actor": "key1", "arms": ["champion", "challenger"]}
    assert store.audit_log(act="experiment.draft")[0].actor == "key1"


def test_every_experiment_has_a_salt_of_its_own_unless_one_is_given(store, make_config):
    salts = {config_of(create_experiment(store, make_config(), START)).salt for _ in range(2)}
    assert len(salts) == 2
    assert config_of(create_experiment(store, make_config(salt="mine"), START)).salt == "mine"


def test_threats_of_a_task_of_ones_own_must_be_named(store, make_config):
    config = make_config(task="tone")
    with pytest.raises(UsageError, match="which labels of task 'tone' are a threat"):
        create_experiment(store, config, START)
    row = create_experiment(store, config, START, threat_labels=("rude",))
    assert config_of(row).threat_labels == ("rude",)
    named = create_experiment(store, make_config(task="tone", threat_labels=["cold"]), START, threat_labels=("x",))
    assert config_of(named).threat_labels == ("cold",)


def test_weights_are_changed_and_the_change_is_history(store, begin):
    row = begin(store)
    assert set_weights(store, row.id, {"challenger": 0.25}, START, "key1") == {"champion": 0.5, "challenger": 0.25}
    assert set_weights(store, row.id, {"champion": 1}, START + timedelta(hours=1)) == {
        "champion": 1,
        "challenger": 0.25,
    }
    events = store.events(row.id, kind="weights")
    assert [event.facts["weights"]["champion"] for event in events] == [0.5, 1]
    assert store.audit_log(act="experiment.weights")[-1].actor == "key1"


def test_weights_that_stay_are_no_event(store, begin):
    row = begin(store)
    set_weights(store, row.id, {"challenger": 0.5}, START)
    assert store.events(row.id, kind="weights") == []


def test_weights_that_cannot_be_are_refused(store, begin):
    row = begin(store)
    with pytest.raises(UsageError, match=r"there is no arm 'other' \(there are: champion, challenger\)"):
        set_weights(store, row.id, {"other": 1}, START)
    for weight in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(UsageError, match="must lie above 0 and be at most 1000"):
            set_weights(store, row.id, {"challenger": weight}, START)
    with pytest.raises(UnknownRowError, match="there is no experiment"):
        set_weights(store, "nobody", {}, START)
    move_experiment(store, row.id, Move("stopped"), START)
    with pytest.raises(StoreError, match="is stopped; its weights cannot be changed any more"):
        set_weights(store, row.id, {"challenger": 1}, START)
