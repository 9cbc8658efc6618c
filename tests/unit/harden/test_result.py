"""The result as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from demur.harden import HardenResult, Validation


def test_a_result_names_no_folder_outside_its_own() -> None:
    found = HardenResult(
        name="breaker",
        folder=Path("somewhere/run"),
        adapter=Path("somewhere/run/adapter"),
        merged=None,
        base="embedded:smollm2",
        targets=(9, 19),
        trained_blocks=19,
        steps=40,
        is_early=True,
        validations=(Validation(40, {9: 0.0}, {9: 2.0}, {1: 0.05}),),
        history=({"step": 1, "loss": 9.5},),
        rows={"breakers": 3},
        memory={},
        seconds=1.23456,
    )
    written = json.dumps(found.to_json())
    assert "somewhere" not in written
    assert json.loads(written)["adapter"] == "adapter"
    assert json.loads(written)["validations"][0]["cosine"] == {"9": 0.0}
