"""Is every answered request recorded once, whatever fails meanwhile? See README.md.

python benchmarks/reliability/run.py [--seconds 60] [--rate 20] [--scenario plain] [--database sqlite]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compare import compare, what_is_left
from stand import DATABASES, Guard
from traffic import LABELS, Account, Maker, send

HERE = Path(__file__).resolve().parent
SCENARIOS = {"plain": (), "database": ("database",), "kill": ("kill",), "all": ("database", "kill")}
LOOKS = 20
"""At the memory, while requests come."""
FRESH_S = 3.0
"""A spool whose oldest row is younger than this keeps up: rows are moved every half second."""


@dataclass
class Watch:
    """Looks at the spool all the time, and at the memory of the server now and then."""

    guard: Guard
    every_s: float
    """Between two looks at the memory."""
    memory_mb: list[int] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    """Of the machine in the last minute, other work included."""
    most_rows: int = 0
    most_bytes: int = 0
    down_until: float | None = None
    """When the database was back, by ``time.monotonic``."""
    drained_s: float | None = None
    """How long after that the spool kept up again."""
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        from demur.errors import DemurError
        from demur.store import Spool

        spool, next_look = Spool(self.guard.spool), time.monotonic() + self.every_s
        while not self._is_over.wait(0.25):
            with suppress(DemurError):
                stats = spool.stats()
                self.most_rows = max(self.most_rows, stats.rows)
                self.most_bytes = max(self.most_bytes, stats.bytes)
                keeps_up = stats.oldest_age_s is None or stats.oldest_age_s < FRESH_S
                if self.down_until is not None and self.drained_s is None and keeps_up:
                    self.drained_s = time.monotonic() - self.down_until
            if time.monotonic() >= next_look and len(self.memory_mb) < LOOKS:
                self.memory_mb.append(round(self.guard.memory_mb()))
                self.loads.append(os.getloadavg()[0])
                next_look += self.every_s

    def end(self) -> None:
        self._is_over.set()


async def disturb(
    guard: Guard, database: Any, watch: Watch, what: tuple[str, ...], options: argparse.Namespace
) -> dict[str, int]:
    """Do what a scenario says, while requests come; what was done how often."""
    done = {"workers_killed": 0, "controllers_killed": 0, "groups_killed": 0, "database_down_s": 0}
    chance = random.Random(options.seed)
    work = []
    if "database" in what:
        work.append(_take_down(database, watch, options, done))
    if "kill" in what:
        work += [_kill_workers(guard, chance, options, done), _kill_others(guard, chance, options, done)]
    await asyncio.gather(*work)
    return done


async def _take_down(database: Any, watch: Watch, options: argparse.Namespace, done: dict[str, int]) -> None:
    outage_s = min(options.outage, options.seconds / 3)
    await asyncio.sleep(options.seconds * 0.4)
    await asyncio.to_thread(database.stop, outage_s)
    watch.down_until = time.monotonic()
    done["database_down_s"] = round(outage_s)


async def _kill_workers(
    guard: Guard, chance: random.Random, options: argparse.Namespace, done: dict[str, int]
) -> None:
    until = time.monotonic() + options.seconds
    while time.monotonic() + options.kill_every < until:
        await asyncio.sleep(options.kill_every)
        done["workers_killed"] += guard.kill_one(chance)


async def _kill_others(
    guard: Guard, chance: random.Random, options: argparse.Namespace, done: dict[str, int]
) -> None:
    """The controller once, and once everything at the same moment."""
    await asyncio.sleep(options.seconds * 0.3)
    done["controllers_killed"] += guard.kill_one(chance, listening=False)
    await asyncio.sleep(options.seconds * 0.4)
    guard.kill_all()
    done["groups_killed"] += 1


def measure(database_name: str, scenario: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One scenario on one database, from an empty store to the comparison."""
    from demur.store import open_store

    database, guard = DATABASES[database_name](folder), None
    try:
        with open_store(database.url) as store:
            keys = make_keys(store, options.rate)
            guard = Guard(folder, options.model, database.url)
            account, watch = Account(), Watch(guard, options.seconds / LOOKS)
            watcher = threading.Thread(target=watch.run, daemon=True)
            watcher.start()

            async def go() -> dict[str, int]:
                maker = Maker(read_texts(), keys, options.seed)
                sending = send(guard.port, maker, account, options.rate, options.seconds)
                found = await asyncio.gather(
                    sending, disturb(guard, database, watch, SCENARIOS[scenario], options)
                )
                return found[1]

            done = asyncio.run(go())
            guard.wait_ready()
            code = guard.stop()
            watch.end()
            watcher.join()
            found = compare(store, account)
    finally:
        if guard is not None:
            guard.abandon()
        database.remove()
    return {
        "database": database_name,
        "scenario": scenario,
        "seconds": options.seconds,
        "rate_per_s": options.rate,
        **describe(account),
        **done,
        "restarts": len(guard.ended),
        "ended_by_itself": [code for code in guard.ended if code != -signal.SIGKILL],
        "exit_code": code,
        "spool_most_rows": watch.most_rows,
        "spool_most_bytes": watch.most_bytes,
        "drained_after_s": None if watch.drained_s is None else round(watch.drained_s, 1),
        "left_in_spool": what_is_left(guard.spool),
        "memory_mb": [watch.memory_mb[1], watch.memory_mb[-1]] if len(watch.memory_mb) > 1 else None,
        "memory_series_mb": watch.memory_mb,
        "mean_load": round(sum(watch.loads) / max(1, len(watch.loads)), 1),
        **found,
    }


def make_keys(store: Any, rate: float) -> list[str]:
    """Three keys; the last may ask so seldom that it is refused now and then."""
    from demur.store import new_key

    store.migrate()
    made = [new_key(name, ["classify", "feedback"]) for name in ("shop", "desk")]
    made.append(new_key("slow", ["classify", "feedback"], rate_per_s=max(0.2, rate / 5)))
    for _, row in made:
        store.add_key(row)
    return [text for text, _ in made]


def read_texts() -> list[tuple[str, str | None]]:
    from demur.data import load_starter

    return list(load_starter("all").frame.select("prompt", "response").iter_rows())


def describe(account: Account) -> dict[str, Any]:
    """What the client saw, in figures."""
    latencies = sorted(account.latencies)
    times = sorted([0.0, *account.answered_at, account.ended_at])
    statuses = {kind: dict(sorted(seen.items())) for kind, seen in sorted(account.statuses.items())}
    refused: Counter[str] = Counter()
    for kind, seen in account.statuses.items():
        if kind != "bad":
            refused.update({name: count for name, count in seen.items() if name.isdecimal() and name != "200"})
    gaps = [after - before for before, after in itertools.pairwise(times)]
    return {
        "sent": account.sent,
        "not_sent": account.not_sent,
        "answered": len(latencies),
        "no_answer": account.unanswered,
        "refused": dict(refused),
        "statuses": statuses,
        "p50_ms": round(1000 * latencies[len(latencies) // 2], 1),
        "p99_ms": round(1000 * latencies[int(0.99 * len(latencies))], 1),
        "longest_silence_s": round(max(gaps, default=0.0), 2),
    }


def is_sound(result: dict[str, Any]) -> bool:
    """Whether nothing is lost, twice, other than told or left behind, and the server had no fault of its own."""
    faults = [result[name] for name in ("lost", "twice", "contradicting", "exit_code")]
    faults.append(sum(seen.get("500", 0) for seen in result["statuses"].values()))
    return not any(faults) and not any(result["left_in_spool"].values())


def train(folder: Path) -> list[Path]:
    """TF-IDF and logistic regression on the starter corpus, for both tasks."""
    command = [sys.executable, "-m", "demur", "run", "--out", str(folder), "-m", "tfidf_logreg", "--no-report"]
    subprocess.run([*command, *(part for task in LABELS for part in ("-t", task))], check=True)
    return [folder]


def show(value: Any) -> str:
    """A figure as a cell."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count:,}" for name, count in sorted(value.items()))
    if isinstance(value, list):
        return " to ".join(map(str, value))
    return "" if value is None else f"{value:,}"


def write_table(folder: Path) -> str:
    """``result.md`` from every result in the folder."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    names = ("sent", "answered", "no_answer", "refused", "rows_told", "lost", "twice", "recorded_but_not_answered")
    names += (
        "p50_ms",
        "p99_ms",
        "longest_silence_s",
        "spool_most_rows",
        "drained_after_s",
        "memory_mb",
        "mean_load",
    )
    head = ["database", "scenario", "s", "requests/s", *(name.replace("_", " ") for name in names)]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    for one in found:
        cells = [one["database"], one["scenario"], f"{one['seconds']:g}", f"{one['rate_per_s']:g}"]
        lines.append("| " + " | ".join([*cells, *(show(one.get(name)) for name in names)]) + " |")
    page = "\n".join(lines) + "\n"
    (folder / "result.md").write_text(page, encoding="utf-8")
    return page


def describe_machine() -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1_min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="Of traffic, for each scenario and database.")
    parser.add_argument("--rate", type=float, default=20.0, help="Requests a second.")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="Several with several options.")
    parser.add_argument("--database", action="append", choices=DATABASES, help="Several with several options.")
    parser.add_argument("--outage", type=float, default=120.0, help="Seconds without database (at most a third).")
    parser.add_argument("--kill-every", type=float, default=30.0, help="Seconds between two killed workers.")
    parser.add_argument(
        "--model", type=Path, action="append", help="Saved models of both tasks, instead of training."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="Folder of results.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    is_held = True
    with tempfile.TemporaryDirectory(prefix="demur-reliability-") as work:
        options.model = options.model or train(Path(work) / "model")
        for database in options.database or ["sqlite"]:
            for scenario in options.scenario or ["all"]:
                machine = describe_machine()
                folder = Path(work) / f"{database}-{scenario}"
                folder.mkdir()
                result = measure(database, scenario, options, folder) | {"machine": machine}
                text = json.dumps(result, indent=2)
                (options.out / f"{database}-{scenario}.json").write_text(text + "\n", encoding="utf-8")
                print(text, flush=True)
                is_held = is_held and is_sound(result)
    print(write_table(options.out))
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
