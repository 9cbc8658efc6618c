"""Answers written in batches against one by one; see README.md.

python benchmarks/generation/run.py [--rows 32] [--tokens 48] [--batch 16] [--cores 1] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIN_RATIO = 3.0
ASKED = (
    "Write a short story about {}.",
    "What is {}?",
    "Explain {} to a child, then to a teacher, and say what the two explanations have in common.",
    "Give me three questions one could ask about {}, and answer the hardest of them in a few sentences.",
)
TOPICS = ("a lighthouse", "bread", "the tides", "chess", "a violin", "snow", "maps", "the moon")


def make_conversations(rows: int) -> list[Any]:
    from demur.llm import Conversation

    every = [Conversation.from_prompt(text.format(topic)) for topic in TOPICS for text in ASKED]
    return [every[row % len(every)] for row in range(rows)]


def write_with_transformers(target: Any, conversations: list[Any], tokens: int) -> list[tuple[int, ...]]:
    """What a plain loop over ``generate`` of transformers writes."""
    import torch

    found = []
    for one in conversations:
        prompt = torch.from_numpy(target.prompt_ids(one)).long()[None].to(target.module.device)
        written = target.module.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=list(target.chat.stop_ids),
            pad_token_id=target.pad_id,
        )[0, prompt.shape[1] :].tolist()
        found.append(tuple(written[:-1] if written[-1] in target.chat.stop_ids else written))
    return found


def measure(target: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Each way in turns; the fastest turn of each counts."""
    from demur.llm import GenerationConfig

    conversations = make_conversations(options.rows)
    configs = {
        name: GenerationConfig(max_new_tokens=options.tokens, batch_size=size)
        for name, size in (("batched", options.batch), ("one by one", 1))
    }

    def own(name: str) -> list[tuple[int, ...]]:
        return [reply.token_ids for reply in target.generate(conversations, configs[name])]

    ways: dict[str, Callable[[], list[tuple[int, ...]]]] = {
        "batched": lambda: own("batched"),
        "one by one": lambda: own("one by one"),
        "one by one, transformers": lambda: write_with_transformers(target, conversations, options.tokens),
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    written: dict[str, list[tuple[int, ...]]] = {}
    # What the first passes set up belongs to no turn.
    target.generate(conversations[:2], GenerationConfig(max_new_tokens=2))
    for _ in range(options.rounds):
        for name, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            written[name] = run()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    tokens = sum(len(one) for one in written["batched"])
    return {
        "rows": len(conversations),
        "tokens_written": tokens,
        "longest_answer": max(len(one) for one in written["batched"]),
        "same_answers": {
            name: sum(a == b for a, b in zip(written["batched"], written[name], strict=True))
            for name in ("one by one", "one by one, transformers")
        },
        "tokens_per_s": {name: round(tokens / min(found), 1) for name, found in walls.items()},
        "ratio": round(min(walls["one by one"]) / min(walls["batched"]), 2),
        "ratio_cpu_time": round(min(cpus["one by one"]) / min(cpus["batched"]), 2),
        "ratio_to_transformers": round(min(walls["one by one, transformers"]) / min(walls["batched"]), 2),
        "ratio_to_transformers_cpu_time": round(min(cpus["one by one, transformers"]) / min(cpus["batched"]), 2),
        "ratios_of_turns": [
            round(one / many, 2) for one, many in zip(walls["one by one"], walls["batched"], strict=True)
        ],
    }


def describe_machine(cores: int) -> dict[str, Any]:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": cores,
        "load_1min_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded:smollm2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48, help="Most tokens of an answer.")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    machine = describe_machine(options.cores)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    import torch

    from demur.llm import TargetConfig, load_target
    from demur.models import library_versions

    torch.set_num_threads(options.cores)
    warnings.simplefilter("error")
    target = load_target(TargetConfig(model=options.model, device=options.device))
    measured = measure(target, options)
    result = {
        "held": measured["ratio"] >= MIN_RATIO,
        "bound": MIN_RATIO,
        **measured,
        "model": target.name,
        "settings": {name: getattr(options, name) for name in ("rows", "tokens", "batch", "rounds", "device")},
        "machine": machine,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("held", *measured)}, indent=2))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
