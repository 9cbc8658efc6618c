import json
import re
from dataclasses import replace

import pytest

from demur.report.card import write_card
from demur.report.card._write import attack_table, benign_table


@pytest.fixture(scope="module")
def files(card, tmp_path_factory):
    return write_card(card, tmp_path_factory.mktemp("written") / "card")


def test_a_card_is_written_three_times(files):
    assert [path.name for path in (files.json, files.html, files.pdf)] == ["card.json", "card.html", "card.pdf"]
    assert files.pdf.read_bytes().startswith(b"%PDF")


def test_the_data_are_the_card(files, card):
    found = json.loads(files.json.read_text(encoding="utf-8"))
    assert found["target"] == card.target
    assert [one["name"] for one in found["attacks"]] == [one.name for one in card.attacks]


def test_the_page_loads_nothing_and_says_what_wins(files):
    source = files.html.read_text(encoding="utf-8")
    assert "<script" not in source
    assert not re.search(r'(?:src|href)="(?!#|data:)', source)
    assert "still wins" in source
    assert "prefers-color-scheme: dark" in source
    assert "is not tamper-resistant" in source


def test_a_card_without_controls_says_what_is_missing(card, tmp_path):
    bare = replace(card, controls=(), benign=(), training=(), attacks=())
    source = write_card(bare, tmp_path).html.read_text(encoding="utf-8")
    assert "without revert-to-base nobody can say" in source
    assert "what was lost is not known" in source


def test_rows_of_the_page_follow_the_card(card):
    table = attack_table(card, card.attacks, "Attacks")
    assert [row.name for row in table.rows] == [one.name for one in card.attacks]
    assert table.rows[0].cells[1] == card.attacks[0].hardened
    assert attack_table(card, (), "Attacks") is None


def test_the_benign_side_is_a_table_or_nothing(card):
    assert len(benign_table(card).rows) == len(card.benign)
    assert benign_table(replace(card, benign=())) is None
