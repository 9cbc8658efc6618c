import json
import math
from dataclasses import dataclass

from demur.analysis import to_plain


@dataclass(frozen=True)
class Thing:
    value: float
    inner: object


def test_results_become_json():
    found = to_plain(Thing(0.123456789, {"a": (1, None, True), 2: Thing(1e-12, "text")}))
    assert found == {"value": 0.123457, "inner": {"a": [1, None, True], "2": {"value": 1e-12, "inner": "text"}}}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_not_a_number_is_null():
    assert to_plain([math.nan, math.inf, -math.inf]) == [None, None, None]
