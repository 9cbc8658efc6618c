"""Throughput, latency, overhead and memory of the guard; see README.md.

python benchmarks/serve/run.py [--model FOLDER] [--seconds 20] [--rounds 3] [--memory-requests 200000]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).resolve().parent
MIN_SPEEDUP, MAX_SINGLE, MAX_GROWTH = 4.0, 1.3, 0.05
WARM_S = 5.0
START_S = 900
LOADED_S = 90.0
"""Of load after which the controller has looked at drift once, and so has loaded the libraries for it."""


def sibling(name: str) -> Any:
    """The script of another benchmark as a module: how a checkpoint is tuned and exported stands there."""
    spec = importlib.util.spec_from_file_location(name, HERE.parent / name / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("the server was not ready")


class Server:
    """A server under test: its port, path and key, and what it has used so far."""

    def __init__(self, process: subprocess.Popen[Any], port: int, path: str, key: str = "") -> None:
        self.process, self.port, self.path, self.key = process, port, path, key

    def tree(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.tree())

    def memory_mb(self) -> float:
        return sum(one.memory_info().rss for one in self.tree()) / 2**20


@contextmanager
def serve_plain(model: Path, max_tokens: int, *more: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, str(HERE / "plain.py"), str(model), str(port), str(max_tokens), *more]
    process = subprocess.Popen(command)
    try:
        wait_ready(port, process)
        yield Server(process, port, "/classify")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serve_guard(models: list[Path], work: Path, workers: int) -> Iterator[Server]:
    from demur.store import new_key, open_store

    port, url = free_port(), f"sqlite:///{work / 'guard.db'}"
    values = {
        "models": [str(one) for one in models],
        "port": port,
        "workers": workers,
        "database": {"url": url},
        "spool": {"folder": str(work / "spool")},
    }
    (work / "serve.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with open_store(url) as store:
        store.migrate()
        key, row = new_key("benchmark", ["classify"])
        store.add_key(row)
    with (work / "log.txt").open("w") as log:
        command = [sys.executable, "-m", "demur", "serve", str(work / "serve.yaml")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
    try:
        wait_ready(port, process)
        yield Server(process, port, "/v1/classify", key)
    finally:
        process.terminate()
        process.wait()


def load(server: Server, bodies: Path, clients: int, seconds: float, count: int = 0) -> dict[str, Any]:
    """One run of clients: what they saw, and the processor time the server took for it."""
    command = [sys.executable, str(HERE / "load.py"), str(server.port), server.path, str(bodies)]
    command += ["--clients", str(clients), "--seconds", str(seconds), "--count", str(count), "--key", server.key]
    before = server.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert set(found["statuses"]) == {"200"}, found["statuses"]
    return found | {"server_cpu_s": server.cpu_s() - before}


def run_bare(model: Path, bodies: Path, seconds: float, max_tokens: int) -> dict[str, list[float]]:
    """Seconds of bare calls, by what is called."""
    command = [sys.executable, str(HERE / "bare.py"), str(model), str(bodies), str(seconds), str(max_tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all rounds together."""
    latencies = sorted(1000 * one for run in runs for one in run["latencies"])
    seconds = sum(run.get("seconds", 0.0) for run in runs)
    told: dict[str, Any] = {
        "requests": len(latencies),
        "p50_ms": round(latencies[len(latencies) // 2], 3),
        "p99_ms": round(latencies[int(0.99 * len(latencies))], 3),
    }
    if seconds:
        told["requests_per_s"] = round(len(latencies) / seconds, 2)
        told["server_cpu_ms_per_request"] = round(
            1000 * sum(run["server_cpu_s"] for run in runs) / len(latencies), 3
        )
        told["load_cpu_share"] = round(sum(run["cpu_s"] for run in runs) / seconds, 3)
    return told


def compare(model: Path, bodies: Path, max_tokens: int, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {}
    cores = str(len(os.sched_getaffinity(0)))
    with (
        serve_plain(model, max_tokens) as plain,
        serve_plain(model, max_tokens, cores) as tuned,
        serve_guard([model], work, options.workers) as guard,
    ):
        servers = {"plain": plain, "tuned": tuned, "guard": guard}
        turns: list[tuple[str, Callable[[], dict[str, Any]]]] = []
        for clients in (32, 1):
            for name, server in servers.items():
                turn = partial(load, server, bodies, clients, options.seconds)
                turns.append((f"{name}_{clients}", turn))
        for server in servers.values():  # once unseen, so that all are warm
            load(server, bodies, 32, min(WARM_S, options.seconds))
        for _ in range(options.rounds):
            for name, turn in turns:
                runs.setdefault(name, []).append(turn())
            for name, latencies in run_bare(model, bodies, 2 * options.seconds, max_tokens).items():
                runs.setdefault(f"bare_{name}", []).append({"latencies": latencies})
    return {name: summarise(found) for name, found in runs.items()}


def measure_overhead(
    bodies: Path, options: argparse.Namespace, work: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules model to 32 clients, and memory over many requests."""
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    RulesClassifier(REFUSAL).save(work / "rules")
    with serve_guard([work / "rules"], work, options.workers) as server:
        load(server, bodies, 32, LOADED_S)
        runs, memory = [], [server.memory_mb()]
        for _ in range(20):
            runs.append(load(server, bodies, 32, START_S, max(32, options.memory_requests // 20)))
            memory.append(server.memory_mb())
    first, last = statistics.median(memory[3:7]), statistics.median(memory[-4:])
    told = {"requests": options.memory_requests, "mb": [round(one, 1) for one in memory]}
    return summarise(runs), told | {"growth": round(last / first - 1, 4)}


def judge(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that have bounds."""
    compared = result["compared"]
    speedup = compared["guard_32"]["requests_per_s"] / compared["plain_32"]["requests_per_s"]
    single = {
        name: compared["guard_1"]["p50_ms"] / compared[f"bare_{name}"]["p50_ms"]
        for name in ("pipeline", "predict", "pass")
    }
    tuned = compared["guard_32"]["requests_per_s"] / compared["tuned_32"]["requests_per_s"]
    bounds = {
        "speedup_32": round(speedup, 2),
        "speedup_32_over_tuned": round(tuned, 2),
        "p99_32_ratio": round(compared["guard_32"]["p99_ms"] / compared["plain_32"]["p99_ms"], 3),
        **{f"p50_1_over_bare_{name}": round(ratio, 3) for name, ratio in single.items()},
        "memory_growth": result["memory"]["growth"],
    }
    held = speedup >= MIN_SPEEDUP and bounds["p99_32_ratio"] < 1 and single["pass"] <= MAX_SINGLE
    return {"held": held and result["memory"]["growth"] <= MAX_GROWTH, "bounds": bounds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="A saved classifier with head: transformers and an ONNX export."
    )
    parser.add_argument("--encoder", help="What is tuned instead of the embedded one: a folder or a hub name.")
    parser.add_argument("--seconds", type=float, default=20.0, help="Of each run of a contender.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--train-rows", type=int, default=400)
    parser.add_argument("--memory-requests", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    tuned = sibling("onnx_throughput")
    machine = tuned.describe_machine(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, rows, texts = tuned.prepare(options, work)
        bodies = work / "bodies.jsonl"
        lines = [json.dumps({"input": {"prompt": row["prompt"], "response": row["response"]}}) for row in rows]
        bodies.write_text("\n".join(lines), encoding="utf-8")
        (work / "compared").mkdir()
        (work / "overhead").mkdir()
        compared = compare(model, bodies, tuned.MAX_TOKENS, options, work / "compared")
        overhead, memory = measure_overhead(bodies, options, work / "overhead")
    from demur.models import library_versions

    result: dict[str, Any] = {"compared": compared, "overhead_rules": overhead, "memory": memory}
    result = judge(result) | result
    result |= {
        "texts": texts,
        "workers": options.workers,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "machine": machine,
        "commit": tuned.commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("held", "bounds", "compared", "overhead_rules")}, indent=2))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
