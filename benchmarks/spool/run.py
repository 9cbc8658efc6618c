"""Rows a second that the spool acknowledges, against a commit for each row and the database itself; see README.md.

python benchmarks/spool/run.py [--seconds 3] [--rounds 3] [--writers 32] [--out result.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.store import PredictionRow, Spool, Store, new_id, open_store
from demur.store.spool._codec import encode

HERE = Path(__file__).resolve().parent
BOUND = 3.0
FORCED, SPOOLED = "commit per row, forced", "spool always"


def make_row() -> PredictionRow:
    """A prediction as a server stores it without texts."""
    return PredictionRow(
        request_id=new_id(),
        task="refusal",
        model="tfidf_logreg",
        version="0123456789abcdef",
        label="hard_refusal",
        probabilities={"no_refusal": 0.1, "hard_refusal": 0.7, "soft_refusal": 0.2},
        threat_score=0.9,
        threshold={"fpr_1": 0.8},
        is_flagged=True,
        prompt_chars=120,
        response_chars=480,
        latency_ms=3.2,
    )


def measure(put: Callable[[PredictionRow], None], writers: int, seconds: float) -> list[float]:
    """Let so many threads put rows for a while; the seconds each row waited."""
    end = time.perf_counter() + seconds
    waits: list[list[float]] = [[] for _ in range(writers)]

    def write(mine: list[float]) -> None:
        while time.perf_counter() < end:
            row, start = make_row(), time.perf_counter()
            put(row)
            mine.append(time.perf_counter() - start)

    threads = [threading.Thread(target=write, args=(mine,)) for mine in waits]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return [one for mine in waits for one in mine]


def measure_loop(spool: Spool, writers: int, seconds: float) -> list[float]:
    """The same from coroutines of one event loop."""
    waits: list[float] = []

    async def write(end: float) -> None:
        while time.perf_counter() < end:
            row, start = make_row(), time.perf_counter()
            await spool.aput("predictions", [row])
            waits.append(time.perf_counter() - start)

    async def main() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(write(end) for _ in range(writers)))

    asyncio.run(main())
    return waits


@contextmanager
def commit_per_row(folder: Path, synchronous: str) -> Iterator[Callable[[PredictionRow], None]]:
    """A file of the same kind, written the plain way."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, kind TEXT, request_id TEXT, body TEXT)")
    lock = threading.Lock()

    def put(row: PredictionRow) -> None:
        (entry,) = encode("predictions", [row])
        with lock:
            connection.execute(
                "INSERT INTO rows (kind, request_id, body) VALUES (?, ?, ?)",
                (entry.kind, entry.request_id, entry.body),
            )

    yield put
    connection.close()


def run_case(name: str, options: argparse.Namespace, postgres: str | None) -> dict[str, float]:
    """One case once: rows a second, waits, processor time."""
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        cpu, start = time.process_time(), time.perf_counter()
        if name.startswith("commit per row"):
            with commit_per_row(folder, "FULL" if name.endswith(", forced") else "NORMAL") as put:
                waits = measure(put, options.writers, options.seconds)
        elif name.startswith("spool"):
            fsync: Any = name.split()[1].rstrip(",")
            with Spool(folder, fsync) as spool:
                if name.endswith("event loop"):
                    waits = measure_loop(spool, options.writers, options.seconds)
                else:
                    waits = measure(lambda row: spool.put("predictions", [row]), options.writers, options.seconds)
                assert spool.stats().rows == len(waits), "rows are missing"
        else:
            with open_store(postgres if "PostgreSQL" in name else f"sqlite:///{folder / 'demur.db'}") as store:
                store.migrate()
                before = store.counts()["predictions"]
                if name.startswith("drain"):
                    return drain(store, folder, options.rows)
                waits = measure(lambda row: store.add_predictions([row]), options.writers, options.seconds)
                assert store.counts()["predictions"] - before == len(waits), "rows are missing"
        wall, used = time.perf_counter() - start, time.process_time() - cpu
    return {
        "rows_per_s": len(waits) / wall,
        "wait_ms_p50": statistics.median(waits) * 1000,
        "wait_ms_p99": statistics.quantiles(waits, n=100)[98] * 1000,
        "cpu_ms_per_row": used / len(waits) * 1000,
    }


def drain(store: Store, folder: Path, rows: int) -> dict[str, float]:
    """Move so many rows."""
    with Spool(folder / "spool", "never") as spool:
        for _ in range(rows // 500):
            spool.put("predictions", [make_row() for _ in range(500)])
        cpu, start = time.process_time(), time.perf_counter()
        moved = spool.drain(store)
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        assert moved.new == rows // 500 * 500, "rows are missing"
    return {"rows_per_s": moved.rows / wall, "cpu_ms_per_row": used / moved.rows * 1000}


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """The address of a PostgreSQL that forces its commits to the disk, or None where no server is installed."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    from pg import Server, find_programs

    programs = find_programs()
    if programs is None:
        yield None
        return
    server = Server(programs)
    try:
        with (server.folder / "data" / "postgresql.conf").open("a") as config:
            config.write("fsync = on\nfull_page_writes = on\n")
        server.start()
        yield server.url()
    finally:
        server.remove()


def main() -> int:
    """Run all cases in turn, some rounds; 1 past the bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=10000, help="rows that are drained")
    parser.add_argument("--folder", default=None, help="where the files are made (default: the temporary folder)")
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    cases = [FORCED, "commit per row, not forced", SPOOLED, "spool interval", "spool never"]
    cases += ["spool interval, event loop", "SQLite directly", "drain into SQLite"]
    found: dict[str, list[dict[str, float]]] = {}
    with postgres_server() as postgres:
        cases += ["PostgreSQL directly", "drain into PostgreSQL"] if postgres else []
        for _ in range(options.rounds):
            for name in cases:
                found.setdefault(name, []).append(run_case(name, options, postgres))
                print(f"{name:28} {found[name][-1]['rows_per_s']:9.0f} rows/s", flush=True)
    medians = {
        name: {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
        for name, rounds in found.items()
    }
    times = medians[SPOOLED]["rows_per_s"] / medians[FORCED]["rows_per_s"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    result = {
        "writers": options.writers,
        "cases": medians,
        "always_times_commit_per_row": round(times, 2),
        "bound": BOUND,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_1_min": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "commit": commit.stdout.strip(),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nforced to the disk, the spool takes {times:.1f} times the rows of a commit for each (bound {BOUND})")
    return int(times < BOUND)


if __name__ == "__main__":
    sys.exit(main())
