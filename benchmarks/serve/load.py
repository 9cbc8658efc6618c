"""Clients that ask a server over kept connections for some seconds; prints latencies as JSON. See README.md.

    python benchmarks/serve/load.py PORT PATH BODIES.jsonl --clients 32 --seconds 10 [--key KEY] [--count N]

Raw sockets and no HTTP library: what makes the load must not take the processor from what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


class Plan:
    """What is asked, and for how long."""

    def __init__(self, options: argparse.Namespace) -> None:
        bodies = [line.encode() for line in Path(options.bodies).read_text(encoding="utf-8").splitlines()]
        key = f"Authorization: Bearer {options.key}\r\n" if options.key else ""
        head = f"POST {options.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{key}"
        self.requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self.port, self.until = options.port, time.perf_counter() + options.seconds
        self.left = options.count or sys.maxsize
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()

    def is_over(self) -> bool:
        self.left -= 1
        return self.left < 0 or time.perf_counter() > self.until


async def ask(plan: Plan, requests: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    for request in requests:
        if plan.is_over():
            break
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        plan.latencies.append(time.perf_counter() - started)
        plan.statuses[head[9:12].decode()] += 1
    writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("bodies")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=0, help="Stop after so many requests.")
    parser.add_argument("--key", default="")
    options = parser.parse_args()
    plan = Plan(options)
    count = len(plan.requests)
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(
        *(
            ask(plan, itertools.islice(itertools.cycle(plan.requests), number * count // options.clients, None))
            for number in range(options.clients)
        )
    )
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_s": time.process_time() - cpu,
                "latencies": plan.latencies,
                "statuses": plan.statuses,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
