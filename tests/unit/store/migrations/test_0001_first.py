"""Tests of the first step: the tables as they were when it was released, which later steps start from."""

from sqlalchemy import inspect

from demur.store.migrations import _0001_first as step

TABLES = {
    "demur_audit",
    "demur_deletions",
    "demur_drift_runs",
    "demur_experiment_events",
    "demur_experiments",
    "demur_feedback",
    "demur_input_samples",
    "demur_keys",
    "demur_leases",
    "demur_models",
    "demur_monitor_states",
    "demur_predictions",
    "demur_references",
    "demur_retrains",
    "demur_traffic",
}


def test_it_is_the_first():
    assert (step.revision, step.down_revision) == ("0001", None)


def test_it_makes_every_table_with_a_key(store):
    with store._read() as connection:
        looked = inspect(connection)
        assert set(looked.get_table_names()) >= TABLES
        assert all(looked.get_pk_constraint(table)["constrained_columns"] for table in TABLES)


def test_json_is_binary_on_postgresql(postgres):
    from demur.store import open_store

    with open_store(postgres) as store:
        store.migrate()
        with store._read() as connection:
            columns = {
                one["name"]: str(one["type"]) for one in inspect(connection).get_columns("demur_predictions")
            }
    assert columns["probabilities"] == "JSONB"
    assert columns["at"] == "TIMESTAMP"
    assert columns["threat_score"] == "DOUBLE PRECISION"
