from datetime import timedelta

import pytest
from tests.unit.serve.dashboard.conftest import NOON

from demur.errors import StoreError, StoreUnavailableError
from demur.serve.dashboard import DashboardConfig
from demur.serve.dashboard._gather import gather
from demur.serve.dashboard._span import SPANS
from demur.store import ModelRow, open_store


def test_everything_that_is_shown_is_there(filled):
    assert list(filled.tasks) == ["refusal", "prompt_risk"]
    assert {len(steps) for steps in filled.tasks.values()} == {96} == {len(filled.traffic)}
    assert sum(step.rows for step in filled.tasks["prompt_risk"]) == sum(one.requests for one in filled.traffic)
    assert {len(runs) for runs in filled.runs.values()} == {24}
    assert [one.stage for one in filled.experiments] == ["running", "stopped"]
    assert [row.stage for row in filled.models][:3] == ["champion", "champion", "challenger"]
    assert [row.stage for row in filled.retrains] == ["comparing", "failed", "rejected", "promoted"]
    assert all(row.is_flagged for row in filled.flagged)
    assert filled.problems == {}


def test_texts_stay_in_the_database_unless_they_are_logged(filled_store, filled):
    assert any(row.prompt for row in filled.flagged)
    found = gather(filled_store, DashboardConfig(), SPANS["day"], NOON, [])
    assert {(row.prompt, row.response) for row in found.flagged} == {(None, None)}


def test_no_more_is_read_than_is_shown(filled_store):
    config = DashboardConfig(flagged=3, excerpt=20)
    found = gather(filled_store, config, SPANS["day"], NOON, [], has_texts=True)
    assert len(found.flagged) == 3
    assert max(len(row.prompt) for row in found.flagged) == 21


def test_a_part_that_cannot_be_read_keeps_no_other(filled_store, monkeypatch):
    def fail(*_, **__):
        raise KeyError("a text of somebody's")

    def refuse(*_, **__):
        raise StoreError("the table is not there")

    monkeypatch.setattr(filled_store, "retrains", fail)
    monkeypatch.setattr(filled_store, "newest_flagged", refuse)
    found = gather(filled_store, DashboardConfig(), SPANS["day"], NOON, [])
    assert "KeyError" in found.problems["retraining"]
    assert "somebody" not in found.problems["retraining"]
    assert found.problems["flagged"] == "the table is not there"
    assert found.models


def test_a_database_that_is_away_is_said_so(tmp_path):
    with (
        open_store(f"sqlite:///{tmp_path / 'none' / 'demur.db'}") as store,
        pytest.raises(StoreUnavailableError, match="cannot be opened"),
    ):
        gather(store, DashboardConfig(), SPANS["hour"], NOON, [])


def test_of_many_models_champions_and_the_newest_are_shown(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        for number in range(60):
            stage = "champion" if number == 7 else "retired"
            at = NOON - timedelta(hours=60 - number)
            store.register_model(
                ModelRow(task="t", name="m", version=f"v{number}", folder="f", stage=stage, at=at)
            )
        found = gather(store, DashboardConfig(), SPANS["hour"], NOON, [])
    assert [row.version for row in found.models[:3]] == ["v7", "v59", "v58"]
    assert (len(found.models), found.models_left_out) == (50, 10)
