"""What is under test: a real ``demur serve``, a real database, and how they are brought down. See README.md."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

START_S = 300.0
_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


class Sqlite:
    """A file. Down: another process holds its write lock, and in the middle third its folder has another name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "database"
        self._folder.mkdir()
        self.url = f"sqlite:///{self._folder / 'guard.db'}"
        self._holder: subprocess.Popen[str] | None = None

    def stop(self, seconds: float) -> None:
        """Bring it down for so long, and back."""
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(self._folder / "guard.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        time.sleep(seconds / 3)
        away = self._folder.with_name("elsewhere")
        self._folder.rename(away)
        time.sleep(seconds / 3)
        away.rename(self._folder)
        time.sleep(seconds / 3)
        holder.communicate()

    def remove(self) -> None:
        """Nothing is left beside the files."""


class Postgres:
    """A cluster of its own, which forces its commits to the disk. Down: stopped as by a crash, then started."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
        from pg import Server, find_programs

        programs = find_programs()
        if programs is None:
            raise SystemExit("no PostgreSQL server is installed here (no initdb); leave --database postgresql out")
        self._server = Server(programs)
        with (self._server.folder / "data" / "postgresql.conf").open("a") as config:
            config.write("fsync = on\nfull_page_writes = on\n")
        self._server.start()
        self.url = self._server.url()

    def stop(self, seconds: float) -> None:
        """Bring it down for so long, and back."""
        self._server.stop("immediate")
        time.sleep(seconds)
        self._server.start()

    def remove(self) -> None:
        self._server.remove()


DATABASES: dict[str, Any] = {"sqlite": Sqlite, "postgresql": Postgres}


class Guard:
    """A server that is started again when it ends, as a service manager would."""

    def __init__(self, folder: Path, models: list[Path], url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder, self.spool = folder, folder / "spool"
        values = {
            "models": [str(one) for one in models],
            "port": self.port,
            "workers": 2,
            "threads": 1,
            "records": "durable",
            "database": {"url": url},
            "spool": {"folder": str(self.spool)},
            "drain_s": 60,
        }
        (folder / "serve.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        self.ended: list[int] = []  # exit codes of servers that were started again; -9 is a kill
        self._is_stopping = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self.wait_ready()
        self._keeper.start()

    def _start(self) -> subprocess.Popen[Any]:
        command = [sys.executable, "-m", "demur", "serve", str(self.folder / "serve.yaml")]
        with (self.folder / "log.txt").open("a") as log:
            # A session of its own, so that the whole group can be killed; libraries shall not use both cores.
            return subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def _keep(self) -> None:
        while not self._is_stopping.wait(0.5):
            if (code := self._process.poll()) is not None:
                self.ended.append(code)
                self._process = self._start()

    def wait_ready(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as one,
            ):
                if one.status == 200:
                    return
            time.sleep(0.2)
        raise SystemExit(f"the server was not ready; see {self.folder / 'log.txt'}")

    def children(self, *, listening: bool) -> list[int]:
        """Workers, which have the listening socket, or else the controller."""
        own = _sockets(self._process.pid)
        with suppress(psutil.NoSuchProcess):
            found = [one.pid for one in psutil.Process(self._process.pid).children()]
            return [one for one in found if bool(own & _sockets(one)) == listening]
        return []

    def kill_one(self, chance: random.Random, *, listening: bool = True) -> bool:
        """Kill a worker (or the controller) with SIGKILL; whether there was one."""
        found = self.children(listening=listening)
        if found:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
        return bool(found)

    def kill_all(self) -> None:
        """Kill supervisor, workers and controller at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def abandon(self) -> None:
        """Kill whatever still runs, for good."""
        self._is_stopping.set()
        if self._process.poll() is None:
            self.kill_all()

    def memory_mb(self) -> float:
        """Resident memory of all its processes together; pages that they share count in each."""
        total = 0
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for one in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    total += one.memory_info().rss
        return total / 2**20

    def stop(self) -> int:
        """End it with SIGTERM: it drains."""
        self._is_stopping.set()
        self._keeper.join()
        self._process.terminate()
        try:
            return self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            return self._process.wait()


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return {one for one in found if one.startswith("socket:")}
