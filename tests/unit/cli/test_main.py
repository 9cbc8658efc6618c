"""Tests of the command itself: help, version, exit codes, one sentence for every error."""

import errno
import os
import subprocess
import sys

import pytest

import demur as package
from demur import errors
from demur.cli import main

VERBS = {
    (): ["run", "score", "data", "models", "config"],
    ("data",): ["validate", "import", "split", "stats", "formats"],
    ("models",): ["list", "show", "export"],
    ("config",): ["show", "schema"],
}
COMMANDS = [(*group, verb) for group, verbs in VERBS.items() for verb in verbs if (verb,) not in VERBS]


@pytest.mark.parametrize("group", sorted(VERBS))
def test_help_lists_every_verb_with_a_sentence(demur, group):
    outcome = demur(*group, "--help")
    assert outcome.code == 0
    for verb in VERBS[group]:
        line = next(line for line in outcome.out.splitlines() if line.split()[:1] == [verb])
        assert len(line.split()) > 3


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_describes_every_option(demur, command):
    outcome = demur(*command, "--help")
    assert outcome.code == 0
    for line in outcome.out.splitlines():
        if line.startswith("  -"):
            assert "  " in line.strip() or len(line.split()) > 2, line


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, "-m", "demur", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"demur {package.__version__}\n")


def test_the_version_is_printed(demur):
    assert demur("--version") == (0, f"demur {package.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run", "--sed", "3"], ["run", "--cv", "-1"], ["score"]])
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(demur, arguments):
    outcome = demur(*arguments)
    assert outcome.code == 2
    assert "Error: " in outcome.err


@pytest.fixture
def failing(monkeypatch):
    """Makes ``demur config schema`` end in an error."""

    def fail(error):
        def raising(**named):
            raise error

        monkeypatch.setattr("demur.experiment.ExperimentConfig.model_json_schema", raising)

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("a sentence"), 2),
        (errors.EmptyDataError("a sentence"), 2),
        (errors.UnreadableFileError("a sentence"), 2),
        (errors.LeakError("a sentence"), 1),
        (errors.ArtifactError("a sentence"), 1),
        (errors.StorageError("a sentence"), 1),
        (errors.MissingDependencyError("a sentence"), 3),
    ],
)
def test_an_error_of_demur_is_its_sentence_and_its_code(demur, failing, error, code):
    failing(error)
    assert demur("config", "schema") == (code, "", "demur: a sentence\n")


def test_a_message_of_several_lines_becomes_one(demur, failing):
    failing(errors.DataError("first\n  second"))
    assert demur("config", "schema").err == "demur: first second\n"


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(demur, failing):
    failing(KeyboardInterrupt())
    outcome = demur("config", "schema")
    assert outcome.code == 130
    assert outcome.err.endswith("demur: stopped; run the same command again and it goes on where it was\n")


def test_a_full_disk_nobody_caught_is_one_sentence(demur, failing):
    failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    outcome = demur("config", "schema")
    assert outcome.code == 1
    assert outcome.err.startswith("demur: no disk space left while running demur config; free some space")


def test_the_program_ends_with_the_code_of_the_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["demur", "data", "stats", "nowhere.jsonl"])
    with pytest.raises(SystemExit, match="2"):
        main.main()
