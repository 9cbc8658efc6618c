"""CPU time of a breaker's step: demur's against the published one, on the same rows and weights; see README.md.

python benchmarks/breaker_step/run.py [--pairs 2] [--rounds 1] [--width 1024] [--tiny] [--cores 1]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from reference import cut_model, pad_breaker, pad_retain, step_losses

HERE = Path(__file__).resolve().parent
MIN_SPEEDUP = 4.0
WEIGHTS = (0.75, 0.25)
FILLER = "it is a matter of patience and of good light so begin early and keep notes on what you see"


def make_rows(target: Any, count: int, seed: int, tokens: tuple[int, int] = (180, 320)) -> list[Any]:
    """Neutral conversations of about 250 tokens, with the assistant's marked."""
    from demur.llm import Conversation, Message

    draw, known, rows = random.Random(seed), FILLER.split(), []
    for _ in range(count):
        wanted = draw.randint(*tokens)
        words = [draw.choice(known) for _ in range(wanted - 40)]
        cut = len(words) // 6
        asked, answered = " ".join(words[:cut]), " ".join(words[cut:])
        rows.append(target.encode(Conversation((Message("user", asked), Message("assistant", answered)))))
    return rows


def make_target(is_tiny: bool) -> Any:
    from demur.llm import Target, TargetConfig, load_target, resolve_causal

    if not is_tiny:
        return load_target(TargetConfig(device="cpu"))
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_causal("embedded:smollm2"))
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 6}
    return Target(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)), tokenizer)


def adapt(model: Any, blocks: int) -> Any:
    """Adapters that already do something, the same for every model of these blocks."""
    from demur.harden import LoraSettings
    from demur.harden._blocks import attach_lora, find_stack

    wrapped = attach_lora(model, find_stack(model), blocks, LoraSettings(dropout=0.0))
    generator = torch.Generator().manual_seed(0)
    for name, one in sorted(wrapped.named_parameters()):
        if ".lora_" in name:
            one.data = torch.randn(one.shape, generator=generator) * 0.02
    return wrapped


def make_reference(options: argparse.Namespace, targets: tuple[int, ...], rows: Any, checkpointing: bool) -> Any:
    target = make_target(options.tiny)
    blocks = targets[-1] + 1
    model = adapt(cut_model(target.module, blocks), blocks)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    tensors = [[torch.from_numpy(row.ids).long() for row in part] for part in rows]
    starts = [int(row.assistant.argmax()) for row in rows[1]]
    halves = [(ids[:at], ids[at:]) for ids, at in zip(tensors[1], starts, strict=True)]
    retain = pad_retain(tensors[0], target.pad_id, options.width)
    breaker = pad_breaker(halves, target.pad_id, options.width)

    def step() -> tuple[float, float]:
        breaker_loss, retain_loss = step_losses(model, retain, breaker, targets)
        (WEIGHTS[0] * breaker_loss + WEIGHTS[1] * retain_loss).backward()
        model.zero_grad()
        return breaker_loss.item(), retain_loss.item()

    return step


def make_ours(options: argparse.Namespace, targets: tuple[int, ...], rows: Any, faithful: bool) -> Any:
    from demur.harden._module import BreakerModule, StatePlan
    from demur.harden._pairs import PairCollator, TokenPair, TokenRow

    target = make_target(options.tiny)
    blocks = targets[-1] + faithful
    plan = StatePlan(targets, tuple(range(1, blocks + 1)), blocks, faithful)
    module = BreakerModule(adapt(target.module, blocks), plan).train()

    def take(row: Any) -> TokenRow:
        return TokenRow(row.ids, row.assistant | faithful)

    pairs = [TokenPair(take(one), take(other)) for one, other in zip(*rows, strict=True)]
    batch = PairCollator(target.pad_id, options.width if faithful else None)(pairs)
    units = batch.pop("units")
    weights = torch.tensor(WEIGHTS) / units

    def step() -> tuple[float, float]:
        found = module(**batch, weights=weights)
        found["loss"].backward()
        module.zero_grad()
        return found["breaker"].item() / WEIGHTS[0], found["retain"].item() / WEIGHTS[1]

    return step


def measure(options: argparse.Namespace) -> dict[str, Any]:
    from demur.llm import resolve_layers

    target = make_target(options.tiny)
    targets = resolve_layers((0.31, 0.62), target.depth)
    rows = [make_rows(target, options.pairs, seed) for seed in (1, 2)]
    makers: dict[str, Callable[[], Any]] = {
        "published": lambda: make_reference(options, targets, rows, True),
        "published, activations kept": lambda: make_reference(options, targets, rows, False),
        "demur, faithful": lambda: make_ours(options, targets, rows, True),
        "demur": lambda: make_ours(options, targets, rows, False),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, make in makers.items():
        step = make()
        times = []
        for _ in range(options.rounds):
            before = time.process_time()
            losses = step()
            times.append(time.process_time() - before)
        found[name] = {"contender": name, "cpu_s": round(min(times), 3), "breaker": losses[0], "retain": losses[1]}
        print(found[name], flush=True)
    slow, kept = found["published"], found["published, activations kept"]
    for one in found.values():
        one["speedup"] = round(slow["cpu_s"] / one["cpu_s"], 2)
        one["speedup_kept"] = round(kept["cpu_s"] / one["cpu_s"], 2)
    ours = found["demur, faithful"]
    equal = all(abs(ours[part] - slow[part]) <= 1e-3 * abs(slow[part]) for part in ("breaker", "retain"))
    lengths = [len(row) for part in rows for row in part]
    return {
        "held": equal and found["demur"]["speedup"] >= MIN_SPEEDUP,
        "equal_losses": equal,
        "contenders": list(found.values()),
        "pairs": options.pairs,
        "rounds": options.rounds,
        "width": options.width,
        "tokens_mean": round(sum(lengths) / len(lengths), 1),
        "model": "random, 6 blocks of 64" if options.tiny else "SmolLM2-135M-Instruct",
        "targets": list(targets),
    }


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def write_results(result: dict[str, Any]) -> None:
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    machine = result["machine"]
    lines = [
        "# Result",
        "",
        "| step | CPU seconds | speed-up | speed-up, activations kept | breaker loss | retain loss |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row['contender']} | {row['cpu_s']} | {row['speedup']} | {row['speedup_kept']} "
            f"| {row['breaker']:.6f} | {row['retain']:.6f} |"
            for row in result["contenders"]
        ),
        "",
        f"Bound: demur at least {MIN_SPEEDUP} times the published step in CPU time, with equal losses in the "
        f"faithful setting: **{'held' if result['held'] else 'broken'}**.",
        "",
        f"{result['model']}, targets {result['targets']}, {result['pairs']} + {result['pairs']} rows of "
        f"{result['tokens_mean']} tokens on average, padded to {result['width']} where published; "
        f"{result['rounds']} round(s), the fastest counts; {machine['processor']}, {machine['cores']} core(s), "
        f"load {machine['load_1min_before']} before; commit {result['commit']}, {result['date']}; "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + ".",
    ]
    (HERE / "result.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--tiny", action="store_true", help="A random model, to try the script; writes nothing.")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    machine = {
        "processor": describe_processor(),
        "cores": options.cores,
        "load_1min_before": round(os.getloadavg()[0], 2),
    }
    from demur.models import library_versions
    from demur.training import quiet_transformers

    torch.set_num_threads(options.cores)
    with quiet_transformers():
        result = measure(options)
    result |= {
        "machine": machine,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": library_versions(),
    }
    if not options.tiny:
        write_results(result)
        print((HERE / "result.md").read_text(encoding="utf-8"))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
