"""Tests of what several verbs parse in the same way."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from demur.cli._options import fill_folds, parse_columns, parse_folds, parse_seeds
from demur.errors import ConfigError

NAMES = st.text(min_size=1).filter(lambda text: "=" not in text)


@given(st.dictionaries(NAMES, st.text(min_size=1), max_size=5))
def test_pairs_become_the_mapping_they_were_written_from(columns):
    assert parse_columns([f"{ours}={theirs}" for ours, theirs in columns.items()]) == columns


@pytest.mark.parametrize("nothing", [None, []])
def test_without_pairs_nothing_is_mapped(nothing):
    assert parse_columns(nothing) == {}


@pytest.mark.parametrize("pair", ["prompt", "=question", "prompt=", ""])
def test_half_a_pair_is_refused_with_an_example(pair):
    with pytest.raises(ConfigError, match=f"--column takes ours=theirs, such as prompt=question, not '{pair}'"):
        parse_columns([pair])


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ("run --cv", "run --cv=auto"),
        ("run --cv mine.yaml", "run --cv=auto mine.yaml"),
        ("run --cv -m rules", "run --cv=auto -m rules"),
        ("run --cv 10 mine.yaml", "run --cv 10 mine.yaml"),
        ("run --cv=10", "run --cv=10"),
        ("run --cv auto", "run --cv auto"),
        ("run --cv -1", "run --cv -1"),
        ("run mine.yaml", "run mine.yaml"),
    ],
)
def test_folds_without_a_number_are_the_default_ones(given, filled):
    assert fill_folds(given.split()) == filled.split()


@given(st.integers(0, 50))
def test_a_number_of_folds_is_taken_as_it_is(number):
    assert parse_folds(str(number)) == number


@pytest.mark.parametrize("text", ["-1", "51", "2.5", "many", ""])
def test_anything_else_is_no_number_of_folds(text):
    with pytest.raises(typer.BadParameter, match=f"--cv takes a number of folds from 0 to 50, .* not '{text}'"):
        parse_folds(text)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5))
def test_seeds_are_read_between_commas(seeds):
    assert parse_seeds(", ".join(map(str, seeds))) == seeds


@pytest.mark.parametrize("text", ["", "1,", "1;2", "a", "-1"])
def test_seeds_that_are_no_numbers_are_refused_with_an_example(text):
    with pytest.raises(typer.BadParameter, match="--seeds takes whole numbers and commas, such as 1,2,3"):
        parse_seeds(text)
