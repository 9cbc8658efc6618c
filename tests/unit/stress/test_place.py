import json

from demur.stress._keys import CellKeys
from demur.stress._place import CellPlace

KEYS = CellKeys("w", "r", "x")


def test_a_cell_lies_under_its_keys(tmp_path):
    place = CellPlace(tmp_path, KEYS)
    assert [one.relative_to(tmp_path).as_posix() for one in (place.result, place.replies, place.work)] == [
        "cells/x.json",
        "replies/r",
        "work/w",
    ]


def test_a_cell_is_done_when_it_has_run_and_not_when_it_was_skipped(tmp_path):
    place = CellPlace(tmp_path, KEYS)
    assert not place.is_done
    place.result.parent.mkdir()
    for status, wanted in (("running", False), ("done", True), ("failed", True), ("skipped", False)):
        place.result.write_text(json.dumps({"status": status}), encoding="utf-8")
        assert place.is_done is wanted


def test_a_damaged_result_is_none(tmp_path):
    place = CellPlace(tmp_path, KEYS)
    place.result.parent.mkdir()
    place.result.write_text("{", encoding="utf-8")
    assert place.read() is None
