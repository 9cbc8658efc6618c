import json

from demur.metrics import AlarmState
from demur.serve.monitor._watch_state import WatchState, state_name

from .conftest import at


def test_a_state_survives_being_kept():
    state = WatchState(
        "v1", at(0), at(10), at(20), "ref", AlarmState(3, 1, (True, False)), AlarmState(), {"drift": "x"}, "why"
    )
    assert WatchState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_each_task_has_its_own():
    assert state_name("refusal") != state_name("jailbreak")
