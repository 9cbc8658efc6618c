"""The reference names every key of every setting, with its default."""

from __future__ import annotations

import re

import pytest

from demur.experiment import ExperimentConfig, write_reference
from demur.models import CLASSIFIERS


@pytest.fixture(scope="module")
def page() -> str:
    return write_reference()


def test_every_key_of_an_experiment_has_a_row(page: str) -> None:
    for name in ExperimentConfig.model_fields:
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("family", CLASSIFIERS.names())
def test_every_setting_of_a_family_has_a_row(page: str, family: str) -> None:
    section = page.split(f"## Settings of the family `{family}`")[1].split("\n## ")[0]
    for name in CLASSIFIERS.get(family).config_type.model_fields:
        assert f"| `{name}` |" in section


def test_every_row_has_four_cells_and_a_meaning(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 4
        assert cells[3].strip(), f"no description: {row}"


def test_keys_of_nested_settings_bear_their_path(page: str) -> None:
    assert "| `select.thresholds.min` |" in page
    assert "| `validation.cv` |" in page


def test_a_required_key_says_so(page: str) -> None:
    assert re.search(r"\| `data\.path` \| str \| required \|", page)


def test_bounds_inside_a_type_are_not_shown_as_code():
    page = write_reference()
    assert "FieldInfo" not in page
    assert "| `seeds` | tuple[int] | none |" in page
