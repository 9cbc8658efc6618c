"""The command as a real process, as a shell starts it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def environment():
    """One thread and an ASCII-safe terminal of a known width; no settings from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEMUR_")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "PYTHONUTF8": "1", "NO_COLOR": "1"}


def command():
    """The installed ``demur`` beside this Python, else the module."""
    script = Path(sys.executable).with_name("demur")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from demur.cli.main import main; main()"]


@pytest.fixture
def demur(tmp_path):
    """Runs ``demur ...`` in ``tmp_path`` (after ``prefix``) and gives the finished process; no traceback."""

    def run(*arguments, prefix=()):
        done = subprocess.run(
            [*prefix, *command(), *map(str, arguments)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def start(tmp_path):
    """Starts ``demur ...`` in ``tmp_path`` and gives the running process."""
    running = []

    def run(*arguments):
        process = subprocess.Popen(
            [*command(), *map(str, arguments)],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that starts us in the background lets its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def stages():
    """The stages of the Dockerfile."""
    from integration.deploy_files import DEPLOY
    from integration.dockerfile import parse_dockerfile

    return parse_dockerfile((DEPLOY / "Dockerfile").read_text(encoding="utf-8"))[1]


@pytest.fixture(scope="session")
def compose():
    """What Compose makes of its file."""
    from integration.deploy_files import compose_model

    return compose_model("compose.yaml")
