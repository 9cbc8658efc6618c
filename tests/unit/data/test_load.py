"""Tests of data sources as a configuration names them."""

import json
from collections import Counter

import numpy as np
import pytest

from demur.config import parse_settings
from demur.data import DataSource, Records, load_sources, load_starter
from demur.data._load import cap_groups
from demur.errors import ConfigError, DataError, EmptyDataError, LabelError, MissingColumnError, RegistryError
from demur.tasks import REFUSAL

ROWS = [
    {
        "prompt": f"p{number // 4}",
        "response": f"r{number}",
        "label": "full" if number % 2 else "none",
        "keep": number % 4,
    }
    for number in range(20)
]
MAPPED = {
    "columns": {"refusal": "label"},
    "label_maps": {"refusal": {"full": "hard_refusal", "none": "no_refusal"}},
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(file)


def load(*sources, tasks=(REFUSAL,), **others):
    return load_sources([DataSource(**source) for source in sources], tasks, **others)


def test_columns_and_labels_are_mapped(path):
    assert Counter(load({"path": path, **MAPPED}).texts("refusal")) == {"no_refusal": 10, "hard_refusal": 10}


def test_rows_without_a_source_are_named_after_the_file(path):
    assert set(load({"path": path, **MAPPED}).texts("source")) == {"mine"}


def test_a_given_source_name_overrides(path):
    assert set(load({"path": path, "source": "ours", **MAPPED}).texts("source")) == {"ours"}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"keep": [0]}, 5),
        ({"keep": ["0", 1]}, 10),
        ({"refusal": ["hard_refusal"], "keep": [1]}, 5),
        ({"model": [None]}, 20),
    ],
)
def test_where_keeps_rows_with_one_of_the_values_of_every_column(path, where, count):
    assert len(load({"path": path, "where": where, **MAPPED})) == count


def test_where_on_a_missing_column_names_it(path):
    with pytest.raises(MissingColumnError, match=r"no column 'keeps'.*did you mean 'keep'"):
        load({"path": path, "where": {"keeps": [1]}, **MAPPED})


def test_where_that_keeps_nothing_is_refused(path):
    with pytest.raises(EmptyDataError, match=r"no row of .* is left after 'where'"):
        load({"path": path, "where": {"keep": [9]}, **MAPPED})


def test_a_cap_keeps_at_most_so_many_rows_of_a_prompt(path):
    assert Counter(load({"path": path, "cap_per_group": 2, **MAPPED}).texts("prompt")) == {
        f"p{number}": 2 for number in range(5)
    }


def test_a_cap_goes_by_the_group_where_there_is_one():
    records = Records.from_rows(
        [{"prompt": f"p{number}", "group": "g" if number < 6 else None} for number in range(8)]
    )
    capped = cap_groups(records, 3, np.random.default_rng(0))
    assert capped.column("group").tolist() == ["g", "g", "g", None, None]


def test_a_limit_draws_rows_and_keeps_their_order(path):
    records = load({"path": path, "limit": 7, **MAPPED})
    numbers = [int(id.removeprefix("row-")) for id in records.texts("id")]
    assert len(numbers) == 7
    assert numbers == sorted(numbers)
    assert numbers != list(range(1, 8))


def test_the_same_seed_draws_the_same_rows_and_another_seed_others(path):
    drawn = [load({"path": path, "limit": 7, **MAPPED}, seed=seed).texts("id") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_ids_of_two_files_are_made_unique(path):
    records = load({"path": path, "source": "a", **MAPPED}, {"path": path, "source": "b", **MAPPED})
    assert records.frame["id"].is_unique().all()
    assert records.texts("id")[0] == "a:row-1"


def test_ids_that_repeat_within_a_source_get_a_number(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "x", "prompt": "a"}\n' * 3)
    assert load({"path": str(tmp_path / "a.jsonl")}).texts("id") == ["a:x", "a:x#2", "a:x#3"]


def test_rows_that_cannot_be_used_go_to_one_quarantine_file_a_source(path, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "refusal": "no_refusal"}\n{"prompt": ""}\n')
    folder = tmp_path / "run"
    load({"path": path, **MAPPED}, {"path": str(tmp_path / "bad.jsonl")}, quarantine_folder=folder)
    assert [file.name for file in folder.iterdir()] == ["quarantine-2-bad.jsonl"]
    assert json.loads((folder / "quarantine-2-bad.jsonl").read_text())["row"] == 2


def test_loading_again_replaces_the_quarantine_file(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"prompt": ""}\n')
    for _ in range(2):
        load({"path": str(tmp_path / "bad.jsonl")}, quarantine_folder=tmp_path / "run")
    assert (tmp_path / "run" / "quarantine-1-bad.jsonl").read_text().count("\n") == 1


def test_without_a_quarantine_folder_a_foreign_label_is_an_error(path):
    with pytest.raises(LabelError, match="row 1: label 'none'"):
        load({"path": path, "columns": {"refusal": "label"}})


@pytest.mark.parametrize("part", ["desk", "field", "blind"])
def test_parts_of_the_starter_corpus_are_sources(part):
    assert load({"path": f"starter:{part}"}).frame.equals(load_starter(part).frame)


def test_the_whole_starter_corpus_is_a_source_and_can_be_filtered():
    records = load({"path": "starter", "where": {"model": ["aria"]}})
    assert set(records.texts("model")) == {"aria"}


def test_an_unknown_part_of_the_starter_corpus_is_refused():
    with pytest.raises(DataError, match="no part 'front'"):
        load({"path": "starter:front"})


def test_an_unknown_format_is_refused_with_the_nearest(path):
    with pytest.raises(RegistryError, match=r"no source is called 'xtest'.*did you mean 'xstest'"):
        load({"path": path, "format": "xtest"})


def test_sources_with_columns_of_other_types_are_joined(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "x": 1}\n')
    (tmp_path / "b.csv").write_text("prompt,x\nb,one\n")
    records = load({"path": str(tmp_path / "a.jsonl")}, {"path": str(tmp_path / "b.csv")})
    assert records.texts("x") == ["1", "one"]


def test_no_sources_are_refused():
    with pytest.raises(EmptyDataError, match="the list of data sources holds no rows"):
        load_sources([], [REFUSAL])


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="unknown key 'colums'; did you mean 'columns'"):
        parse_settings(DataSource, {"path": "a", "colums": {}})
    with pytest.raises(ConfigError, match="limit"):
        parse_settings(DataSource, {"path": "a", "limit": 0})


def test_group_names_of_two_files_are_the_same_groups_unless_said_to_be_their_own(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(f"prompt,response,group\np {name},r,1\nq {name},r,\n")
    paths = [{"path": str(tmp_path / f"{name}.csv")} for name in ("one", "two")]
    shared = load_sources([DataSource(**path) for path in paths], [])
    assert shared.column("group").tolist() == ["1", None, "1", None]
    apart = load_sources([DataSource(**path, own_groups=True) for path in paths], [])
    groups = apart.column("group").tolist()
    assert [group and group.split("-")[0] for group in groups] == ["one", None, "two", None]
    again = load_sources([DataSource(**paths[0], own_groups=True) for _ in range(2)], [])
    assert len(set(again.column("group").tolist())) == 2, "a file given twice is one file"
