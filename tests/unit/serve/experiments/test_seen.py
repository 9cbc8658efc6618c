import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DataError
from demur.serve.experiments._seen import SeenSet


@given(st.lists(st.text(max_size=8)))
def test_what_was_added_is_never_new_again(names):
    seen = SeenSet()
    for name in names:
        seen.add(name)
    assert not any(seen.add(name) for name in names)


def test_few_new_names_are_taken_for_known_ones():
    seen = SeenSet()
    added = sum(seen.add(f"s{number}") for number in range(30_000))
    assert added == seen.n
    assert added / 30_000 > 0.975


def test_it_goes_on_from_its_state_and_is_small():
    seen = SeenSet()
    for number in range(9000):
        seen.add(f"s{number}")
    text = json.dumps(seen.to_json())
    back = SeenSet.from_json(json.loads(text))
    assert [back.add(f"s{number}") for number in range(8000, 10_000)] == [
        seen.add(f"s{number}") for number in range(8000, 10_000)
    ]
    assert back.to_json() == seen.to_json()
    assert len(text) < 3 * 9000
    assert len(json.dumps(SeenSet().to_json())) < 60


@pytest.mark.parametrize("state", [{}, {"n": 1, "room": 1, "filters": ["??"]}, {"n": 1, "room": 0, "filters": 3}])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(DataError, match="no set of subjects that were counted"):
        SeenSet.from_json(state)
