"""Tests of scoring files: every format, bad rows set aside, interrupted anywhere, continued to the same bytes."""

import gzip
import json
import os

import polars as pl
import pytest

import demur
from demur.data import read_records
from demur.errors import (
    ArtifactError,
    DataError,
    EmptyDataError,
    MissingColumnError,
    StorageError,
    UnreadableFileError,
    UsageError,
)
from demur.models import ScoreOptions, score_file
from demur.models._score import default_out
from demur.models._score_parts import Parts

NEW = ["refusal_label", "refusal_p_no_refusal", "refusal_p_hard_refusal", "refusal_p_soft_refusal"]
ANSWERS = [
    "Bread, gladly.",
    "I'm sorry, but I can't help with that.",
    "It is 3, 4 or 5.\nMore?",
    'I cannot "say".',
]
FORMATS = ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet"]
SMALL = ScoreOptions(batch_rows=4)


def make(count=10):
    return [
        {
            "n": number,
            "prompt": f"what of {number}?",
            "response": ANSWERS[number % 4],
            "tag": "é" if number % 3 else None,
        }
        for number in range(count)
    ]


def write(path, rows):
    frame, name = pl.DataFrame(rows), path.name
    if name.endswith("parquet"):
        frame.write_parquet(path)
        return path
    kind = name.removesuffix(".gz").rsplit(".", 1)[-1]
    text = frame.write_ndjson() if kind == "jsonl" else frame.write_csv(separator="\t" if kind == "tsv" else ",")
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(path):
    name = path.name
    if name.endswith("parquet"):
        return pl.read_parquet(path)
    data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    if ".jsonl" in name:
        return pl.read_ndjson(data)
    return pl.read_csv(data, separator="\t" if ".tsv" in name else ",")


@pytest.fixture
def rules(fitted, tasks, tmp_path):
    """The folder of a saved rules model for the task ``refusal``."""
    fitted("rules", tasks["refusal"]).save(tmp_path / "rules")
    return tmp_path / "rules"


@pytest.fixture
def lines(tmp_path):
    """Ten rows in four columns as JSON lines."""
    return write(tmp_path / "in.jsonl", make())


def fail_after(monkeypatch, batches, error):
    """Adding parts raises ``error`` after so many batches."""
    original, count = Parts.add, [0]

    def add(self, *given):
        if count[0] == batches:
            raise error
        count[0] += 1
        original(self, *given)

    monkeypatch.setattr(Parts, "add", add)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("of", FORMATS)
def test_any_format_goes_into_any(tmp_path, rules, of, to):
    file = write(tmp_path / f"in.{of}", make())
    summary = score_file(file, rules, tmp_path / f"out.{to}", SMALL)
    found, given = read(tmp_path / f"out.{to}"), pl.DataFrame(make())
    assert found.columns == [*given.columns, *NEW]
    assert found.select(given.columns).cast(pl.String).equals(given.cast(pl.String))
    assert (summary.rows, summary.rejected, summary.resumed_rows) == (10, 0, 0)
    assert not summary.quarantine.exists()


@pytest.mark.parametrize("name", ["saved", "rules"])
def test_labels_and_probabilities_are_those_of_the_model(request, tmp_path, lines, name):
    folder = request.getfixturevalue(name)
    summary = score_file(lines, folder, tmp_path / "out.parquet", SMALL)
    expected = demur.load(folder).predict(read_records(lines))
    found = read(tmp_path / "out.parquet")
    assert found["refusal_label"].to_list() == expected.labels
    for name, column in zip(NEW[1:], expected.probabilities.T, strict=True):
        assert found[name].to_list() == pytest.approx(column.tolist(), abs=1e-6)
    assert summary.labels == {
        "refusal": {label: expected.labels.count(label) for label in sorted(set(expected.labels))}
    }


def test_the_size_of_a_batch_changes_nothing(tmp_path, saved, lines):
    for batch_rows in (1, 3, 4096):
        score_file(lines, saved, tmp_path / f"out{batch_rows}.jsonl", ScoreOptions(batch_rows=batch_rows))
    first = (tmp_path / "out1.jsonl").read_bytes()
    assert (tmp_path / "out3.jsonl").read_bytes() == (tmp_path / "out4096.jsonl").read_bytes() == first


def test_a_run_folder_gives_the_winners_columns_one_task_after_the_other(tmp_path, fitted, tasks, lines):
    run = tmp_path / "run"
    for task, name in (("refusal", "rules"), ("prompt_risk", "tfidf_nb")):
        fitted(name, tasks[task]).save(run / "models" / task / name)
    (run / "run.json").write_text(json.dumps({"winners": {"refusal": "rules", "prompt_risk": "tfidf_nb"}}))
    summary = score_file(lines, run, tmp_path / "out.jsonl")
    risk = ["prompt_risk_label", *(f"prompt_risk_p_{label}" for label in tasks["prompt_risk"].labels)]
    assert read(tmp_path / "out.jsonl").columns == [*make()[0], *NEW, *risk]
    assert set(summary.labels) == {"refusal", "prompt_risk"}


def test_rows_of_json_lines_may_have_columns_of_their_own(tmp_path, rules):
    (tmp_path / "in.jsonl").write_text('{"response": "a"}\n{"response": "b", "late": 5}\n')
    score_file(tmp_path / "in.jsonl", rules, tmp_path / "out.csv", ScoreOptions(batch_rows=1))
    assert read(tmp_path / "out.csv").columns == ["response", "late", *NEW]
    assert read(tmp_path / "out.csv")["late"].to_list() == [None, 5]


def test_the_result_stands_beside_the_file_unless_told_otherwise(rules, lines):
    assert score_file(lines, rules).out == lines.with_name("in.scored.jsonl")
    assert lines.with_name("in.scored.jsonl").is_file()


@pytest.mark.parametrize(
    ("name", "scored"),
    [
        ("a.jsonl", "a.scored.jsonl"),
        ("a.b.csv.gz", "a.b.scored.csv.gz"),
        ("a.parquet", "a.scored.parquet"),
        ("a.json", "a.scored.jsonl"),
        ("a.json.gz", "a.scored.jsonl"),
        ("a.ndjson", "a.scored.jsonl"),
    ],
)
def test_the_default_result_keeps_the_format_where_it_is_written(tmp_path, name, scored):
    assert default_out(tmp_path / name) == tmp_path / scored


def test_progress_is_told_after_each_batch(tmp_path, rules, lines):
    told = []
    score_file(lines, rules, None, SMALL, lambda rows, rate: told.append((rows, rate > 0)))
    assert told == [(4, True), (8, True), (10, True)]


def test_a_summary_is_plain_values(rules, lines):
    summary = score_file(lines, rules).to_json()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["out"] == str(lines.with_name("in.scored.jsonl"))


MALFORMED = [
    '{"prompt": "a", "response": "Bread."}',
    "not json",
    '{"prompt": "b", "response": "I cannot say."}',
    "[1]",
    '{"prompt": "", "response": " "}',
    '{"prompt": "c", "response": "Tea."}',
    '{"cut',
    '{"prompt": "d", "response": "Milk."}',
]


@pytest.fixture
def malformed(tmp_path):
    """Four rows that can be judged and four that cannot."""
    (tmp_path / "bad.jsonl").write_text("\n".join(MALFORMED) + "\n")
    return tmp_path / "bad.jsonl"


def set_aside(summary):
    return [json.loads(line) for line in summary.quarantine.read_text().splitlines()]


def test_rows_that_cannot_be_judged_are_set_aside_with_row_and_reason(tmp_path, rules, malformed):
    summary = score_file(malformed, rules, tmp_path / "out.jsonl", SMALL)
    assert (summary.rows, summary.rejected) == (4, 4)
    assert read(tmp_path / "out.jsonl")["prompt"].to_list() == ["a", "b", "c", "d"]
    assert sorted(one["row"] for one in set_aside(summary)) == [2, 4, 5, 7]
    assert all(one["reason"] for one in set_aside(summary))
    assert summary.quarantine == tmp_path / "out.jsonl.quarantine.jsonl"


def test_rows_set_aside_by_an_earlier_run_are_not_counted_again(tmp_path, rules, malformed):
    first = score_file(malformed, rules, tmp_path / "out.jsonl", SMALL)
    again = score_file(malformed, rules, tmp_path / "out.jsonl", SMALL)
    assert (first.rejected, again.rejected, len(set_aside(again))) == (4, 4, 4)


@pytest.mark.parametrize("error", [RuntimeError("killed"), KeyboardInterrupt("killed"), StorageError("killed")])
@pytest.mark.parametrize("to", FORMATS)
def test_an_interrupted_run_goes_on_to_the_very_same_result(tmp_path, rules, monkeypatch, to, error):
    file, out = write(tmp_path / "in.jsonl", make(19)), tmp_path / f"out.{to}"
    score_file(file, rules, tmp_path / f"whole.{to}", SMALL)
    with monkeypatch.context() as patch:
        fail_after(patch, 2, error)
        with pytest.raises(type(error), match="killed"):
            score_file(file, rules, out, SMALL)
    assert not out.exists()
    summary = score_file(file, rules, out, SMALL)
    assert (summary.rows, summary.resumed_rows) == (19, 8)
    assert summary.labels == score_file(file, rules, tmp_path / "again.jsonl").labels
    assert out.read_bytes() == (tmp_path / f"whole.{to}").read_bytes()
    assert not out.with_name(f".{out.name}.parts").exists()


@pytest.mark.parametrize("batches", [1, 2, 3])
@pytest.mark.parametrize("batch_rows", [1, 2, 3])
def test_rows_set_aside_are_neither_lost_nor_doubled_by_an_interruption(
    tmp_path, rules, malformed, monkeypatch, batches, batch_rows
):
    options = ScoreOptions(batch_rows=batch_rows)
    whole = score_file(malformed, rules, tmp_path / "whole.jsonl", options)
    with monkeypatch.context() as patch:
        fail_after(patch, batches, RuntimeError("killed"))
        try:
            score_file(malformed, rules, tmp_path / "out.jsonl", options)
        except RuntimeError:
            resumes = True
        else:
            resumes = False
    summary = score_file(malformed, rules, tmp_path / "out.jsonl", options)
    assert (summary.resumed_rows > 0) is resumes
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert set_aside(summary) == set_aside(whole)
    assert summary.rejected == 4


@pytest.fixture
def interrupted(tmp_path, rules, lines, monkeypatch):
    """A run that was killed after two batches of four rows."""
    with monkeypatch.context() as patch:
        fail_after(patch, 2, RuntimeError("killed"))
        with pytest.raises(RuntimeError, match="killed"):
            score_file(lines, rules, tmp_path / "out.jsonl", SMALL)
    return tmp_path / "out.jsonl"


def test_the_same_job_goes_on(interrupted, rules, lines):
    assert score_file(lines, rules, interrupted, SMALL).resumed_rows == 8


def test_a_finished_job_starts_anew(rules, lines):
    assert [score_file(lines, rules, None, SMALL).resumed_rows for _ in range(2)] == [0, 0]


def test_another_model_starts_anew(interrupted, saved, lines):
    summary = score_file(lines, saved, interrupted, SMALL)
    assert (summary.rows, summary.resumed_rows) == (10, 0)
    assert read(interrupted)["refusal_p_no_refusal"].n_unique() > 2


def test_a_changed_file_starts_anew(interrupted, rules, lines):
    write(lines, make(11))
    summary = score_file(lines, rules, interrupted, SMALL)
    assert (summary.rows, summary.resumed_rows) == (11, 0)


def test_a_file_touched_since_starts_anew(interrupted, rules, lines):
    os.utime(lines, ns=(1, 1))
    assert score_file(lines, rules, interrupted, SMALL).resumed_rows == 0


@pytest.mark.parametrize(
    "options",
    [
        ScoreOptions(batch_rows=5),
        ScoreOptions({"prompt": "tag"}, 4),
        ScoreOptions(batch_rows=4, fresh=True),
        ScoreOptions(batch_rows=4, runtime="native"),
    ],
)
def test_other_options_start_anew(interrupted, rules, lines, options):
    assert score_file(lines, rules, interrupted, options).resumed_rows == 0


def test_a_full_disk_is_one_sentence_and_what_is_done_stays(tmp_path, rules, lines, monkeypatch):
    import errno
    from pathlib import Path

    original, left = Path.write_bytes, [2]

    def fill(self, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        with pytest.raises(StorageError, match="no disk space left while writing"):
            score_file(lines, rules, tmp_path / "out.jsonl", SMALL)
    assert not (tmp_path / "out.jsonl").exists()
    assert score_file(lines, rules, tmp_path / "out.jsonl", SMALL).resumed_rows == 8


def test_the_result_may_not_be_its_own_input(tmp_path, rules, lines):
    os.link(lines, tmp_path / "link.jsonl")
    for out in (lines, tmp_path / "." / "in.jsonl", tmp_path / "link.jsonl"):
        with pytest.raises(
            DataError, match=r"would overwrite its own input .*in\.jsonl; name another file with --out"
        ):
            score_file(lines, rules, out)
    assert read(lines).height == 10


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json", "out.parquet.gz"])
def test_a_format_that_is_not_written_is_refused_before_any_work(tmp_path, lines, name):
    with pytest.raises(UnreadableFileError, match=f"cannot write {name}: name it .jsonl"):
        score_file(lines, tmp_path / "no-model", tmp_path / name)


def test_a_format_that_is_not_read_is_named(tmp_path, rules):
    (tmp_path / "in.txt").write_text("x")
    with pytest.raises(UnreadableFileError, match=r"in\.txt has no known format"):
        score_file(tmp_path / "in.txt", rules)


def test_a_text_that_the_model_reads_must_be_in_the_file(tmp_path, rules):
    file = write(tmp_path / "in.csv", [{"prompt": "a", "answer": "b"}])
    with pytest.raises(MissingColumnError, match=r"in\.csv has no column 'response' \(it has: answer, prompt\)"):
        score_file(file, rules)
    assert score_file(file, rules, None, ScoreOptions({"response": "answer"})).rows == 1
    assert read(tmp_path / "in.scored.csv").columns == ["prompt", "answer", *NEW]


def test_a_model_of_prompts_asks_for_no_response(tmp_path, fitted, tasks):
    fitted("rules", tasks["prompt_risk"]).save(tmp_path / "m")
    assert score_file(write(tmp_path / "in.csv", [{"prompt": "a"}]), tmp_path / "m").rows == 1
    with pytest.raises(MissingColumnError, match="no column 'prompt'"):
        score_file(write(tmp_path / "other.csv", [{"response": "a"}]), tmp_path / "m")


def test_a_label_column_of_the_file_is_kept_aside(tmp_path, rules, lines):
    score_file(lines, rules)
    score_file(tmp_path / "in.scored.jsonl", rules, tmp_path / "twice.jsonl", SMALL)
    first, second = read(tmp_path / "in.scored.jsonl"), read(tmp_path / "twice.jsonl")
    assert second.columns == [*make()[0], *(f"{name}_orig" for name in NEW), *NEW]
    assert second["refusal_label"].equals(first["refusal_label"])
    with pytest.raises(DataError, match=r"'refusal_label' and 'refusal_label_orig'.*rename one of them"):
        score_file(tmp_path / "twice.jsonl", rules)


def test_true_labels_of_the_file_are_kept_as_they_are(tmp_path, rules):
    file = write(tmp_path / "in.jsonl", [{"response": "a", "refusal": "anything at all"}])
    score_file(file, rules)
    assert read(tmp_path / "in.scored.jsonl")["refusal"].to_list() == ["anything at all"]


@pytest.mark.parametrize(
    ("name", "data", "error", "match"),
    [
        ("a.jsonl", b"", EmptyDataError, "is empty"),
        ("a.csv", b"prompt,response\n", EmptyDataError, "holds no rows"),
        ("a.jsonl", b"x\ny\n", UnreadableFileError, "none of the 2 rows"),
        ("a.csv", "prompt,response\né,b\n".encode("latin-1"), UnreadableFileError, "is not UTF-8 text"),
        ("a.csv", b"text\na\n", MissingColumnError, "has no column 'response'"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"response": "a"}\n' * 999, mtime=0)[:-9],
            UnreadableFileError,
            "is truncated",
        ),
        ("a.jsonl.gz", b"not gzip", UnreadableFileError, "is not a sound gzip file"),
        ("a.parquet", b"PAR1 cut off", UnreadableFileError, "is not a sound Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_leaves_nothing(tmp_path, rules, name, data, error, match):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=match):
        score_file(tmp_path / name, rules, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / ".out.jsonl.parts").exists()


def test_a_file_that_is_not_there_is_named_before_the_model_is_loaded(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"there is no file .*gone\.jsonl; check the path"):
        score_file(tmp_path / "gone.jsonl", tmp_path / "no-model")


def test_a_folder_that_is_no_model_is_named(tmp_path, lines):
    with pytest.raises(ArtifactError, match="is neither a saved model"):
        score_file(lines, tmp_path)


def test_a_result_in_a_new_folder_makes_the_folder(tmp_path, rules, lines):
    assert score_file(lines, rules, tmp_path / "new" / "deep" / "out.csv").out.is_file()


def test_odd_texts_are_judged_and_come_out_again(tmp_path, saved):
    odd = ["\0", "\u202e", "🙂", "a\rb", "\t", "x" * 200_000, '"', "\\", "NaN", "null"]
    rows = [{"prompt": "p", "response": text} for text in odd]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for to in ("jsonl", "csv", "parquet"):
        score_file(tmp_path / "in.jsonl", saved, tmp_path / f"out.{to}", SMALL)
        assert read_records(tmp_path / f"out.{to}").texts("response") == odd


def test_lone_surrogates_do_not_stop_it(tmp_path, rules):
    (tmp_path / "in.jsonl").write_text('{"response": "a \\ud800 b"}\n{"response": "c"}\n')
    assert score_file(tmp_path / "in.jsonl", rules).rows == 2


def test_verdicts_asked_for_are_columns_and_counted(ready, tmp_path):
    folder, classifier = ready
    file = write(tmp_path / "in.jsonl", make())
    done = score_file(file, folder, options=ScoreOptions(batch_rows=4, threshold="fpr_10", unsure=True))
    found, expected = pl.read_ndjson(done.out), classifier.predict(make())
    assert found.columns[-2:] == ["refusal_flagged", "refusal_unsure"]
    assert found["refusal_flagged"].to_list() == expected.flagged("fpr_10").tolist()
    assert found["refusal_unsure"].to_list() == expected.unsure.tolist()
    assert done.labels["refusal_unsure"].get("yes", 0) == expected.unsure.sum()
    assert sum(done.labels["refusal_flagged"].values()) == 10


def test_a_point_that_a_model_lacks_is_refused_before_any_row_is_judged(ready, saved, tmp_path):
    file = write(tmp_path / "in.jsonl", make())
    with pytest.raises(UsageError, match="has no operating points"):
        score_file(file, saved, options=ScoreOptions(threshold="fpr_1"))
    with pytest.raises(UsageError, match=r"no operating point 'fpr_1' \(it has: fpr_10, fpr_0.1\)"):
        score_file(file, ready[0], options=ScoreOptions(threshold="fpr_1"))
    with pytest.raises(UsageError, match=r"'fpr_0\.1' has no threshold: a false-positive rate of 0.1 % takes"):
        score_file(file, ready[0], options=ScoreOptions(threshold="fpr_0.1"))
    with pytest.raises(UsageError, match="has no abstention"):
        score_file(file, saved, options=ScoreOptions(unsure=True))
    assert not list(tmp_path.glob("*.scored*"))


def test_parts_with_other_verdicts_are_not_taken_up(ready, tmp_path):
    folder, _ = ready
    file, out = write(tmp_path / "in.jsonl", make()), tmp_path / "out.jsonl"

    def stop(rows, rate):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_file(file, folder, out, SMALL, stop)
    done = score_file(file, folder, out, ScoreOptions(batch_rows=4, unsure=True))
    assert (done.resumed_rows, pl.read_ndjson(out)["refusal_unsure"].null_count()) == (0, 0)
