"""Tests of the tables: a column for every field of a row, and names that leave a shared database alone."""

from dataclasses import fields

import pytest

from demur import store
from demur.store._tables import TABLES

ROWS = {
    "predictions": "PredictionRow",
    "feedback": "FeedbackRow",
    "models": "ModelRow",
    "experiments": "ExperimentRow",
    "experiment_events": "ExperimentEvent",
    "drift_runs": "DriftRunRow",
    "retrains": "RetrainRow",
    "audit": "AuditRow",
    "keys": "KeyRow",
    "leases": "Lease",
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_table_has_a_column_for_every_field_and_no_other(name):
    assert {one.name for one in fields(getattr(store, ROWS[name]))} == set(TABLES[name].columns.keys())


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_column_is_required_where_the_field_is(name):
    optional = {one.name for one in fields(getattr(store, ROWS[name])) if "None" in str(one.type)}
    assert optional == {one.name for one in TABLES[name].columns if one.nullable}


def test_every_table_and_index_begins_with_the_name_of_the_package():
    for table in TABLES.values():
        assert table.name.startswith("demur_")
        assert all(index.name.startswith(table.name) for index in table.indexes)
