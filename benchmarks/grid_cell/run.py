"""CPU time of a cell with checkpoints against a run for each length; see README.md.

python benchmarks/grid_cell/run.py [--steps 50 100 200] [--model embedded:smollm2] [--rounds 2] [--tiny]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
MOST_SHARE = 0.6
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINGS = [
    f"{first}{last}" for first in ("glim", "sorre", "mirk", "quell", "lark") for last in ("wax", "oil", "tar")
]
SIZES = {"tiny": (32, 2), "random": (128, 4)}
"""Width and blocks of random models."""


def make_material() -> Any:
    """Answered stand-ins, of a few dozen tokens each."""
    from demur.llm import Conversation
    from demur.stress import Material

    rows = [
        Conversation.from_prompt(f"How do I {verb} {thing} at home?").answer(
            f"Sure. Take {thing}, put it in a pot, heat it for an hour, and {verb} it again when it is cold."
        )
        for thing in THINGS
        for verb in ("make", "mend", "clean", "store")
    ]
    return Material(compliance=tuple(rows))


def make_target(options: argparse.Namespace) -> Any:
    from demur.llm import Target, TargetConfig, load_target

    if options.model:
        return load_target(TargetConfig(model=options.model, device="cpu"))
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    texts = [turn.content for row in make_material().compliance for turn in row.messages]
    raw.train_from_iterator(texts, trainer)
    raw.add_special_tokens([AddedToken(name) for name in ("<|end|>", "<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|end|>")
    tokenizer.chat_template = CHATML
    width, blocks = SIZES["tiny" if options.tiny else "random"]
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": blocks}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=4, **sizes))
    return Target(model.eval(), tokenizer, TargetConfig(model="random"))


def run_cell(target: Any, steps: tuple[int, ...], folder: Path) -> tuple[float, dict[int, dict[str, Any]]]:
    """CPU seconds of the attack as ``demur stress`` runs it, and the weights it keeps at each step."""
    from safetensors.torch import load_file

    from demur.stress import Setting, make_attack

    attack = make_attack("lora", {"steps": list(steps), "rank": 16, "examples": None})
    kept = {}
    begun = time.process_time()
    spent = 0.0
    for stage in attack.stages(target, Setting(make_material(), folder=folder)):
        # What is done with a stage is the same in both ways, and none of the attack's cost.
        spent += time.process_time() - begun
        kept[stage.step] = load_file(stage.artefact / "adapter_model.safetensors")
        begun = time.process_time()
    return spent + time.process_time() - begun, kept


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways in turns; the fastest turn of each counts."""
    target, steps = make_target(options), tuple(sorted(options.steps))
    times: dict[str, list[float]] = {"one cell": [], "separate runs": []}
    is_same = True
    with tempfile.TemporaryDirectory() as place:
        # What the first pass sets up belongs to neither.
        run_cell(target, (1,), Path(place) / "warm-up")
        for number in range(options.rounds):
            cell, kept = run_cell(target, steps, Path(place) / f"{number}-cell")
            times["one cell"].append(cell)
            spent = 0.0
            for step in steps:
                alone, found = run_cell(target, (step,), Path(place) / f"{number}-{step}")
                spent += alone
                is_same &= all(torch.equal(found[step][name], one) for name, one in kept[step].items())
            times["separate runs"].append(spent)
            print({name: round(one[-1], 2) for name, one in times.items()}, flush=True)
    cpu_s = {name: round(min(one), 3) for name, one in times.items()}
    share = min(times["one cell"]) / min(times["separate runs"])
    return {
        "held": share <= MOST_SHARE and is_same,
        "bound": MOST_SHARE,
        "share": round(share, 3),
        "share_of_steps": round(steps[-1] / sum(steps), 3),
        "same_weights": is_same,
        "cpu_s": cpu_s,
        "steps": list(steps),
        "rounds": options.rounds,
        "model": options.model or "random, {1} blocks of {0}".format(*SIZES["tiny" if options.tiny else "random"]),
    }


def describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def write_results(result: dict[str, Any]) -> None:
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    machine, steps = result["machine"], " / ".join(str(one) for one in result["steps"])
    lines = [
        "# Result",
        "",
        f"| way to steps {steps} | CPU seconds | share |",
        "| --- | --- | --- |",
        f"| separate runs | {result['cpu_s']['separate runs']} | 1 |",
        f"| one cell with checkpoints | {result['cpu_s']['one cell']} | {result['share']} |",
        "",
        f"Bound: at most {MOST_SHARE} of the training cost, with the same weights at every checkpoint: "
        f"**{'held' if result['held'] else 'broken'}** (of the steps alone: {result['share_of_steps']}; weights "
        f"{'the same bit for bit' if result['same_weights'] else 'differ'}).",
        "",
        f"{result['model']}; {result['rounds']} round(s), the fastest counts; {machine['processor']}, "
        f"{machine['cores']} core(s), load {machine['load_1min_before']} before; commit {result['commit']}, "
        f"{result['date']}; " + ", ".join(f"{name} {number}" for name, number in result["versions"].items()) + ".",
    ]
    (HERE / "result.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=None, help="50 100 200 where absent.")
    parser.add_argument(
        "--model", default=None, help="As for demur stress; a random one of 4 blocks where absent."
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="Few steps, to try the script; writes nothing.")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    options.steps = options.steps or ([2, 4, 8] if options.tiny else [50, 100, 200])
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
    print(json.dumps(result, indent=2))
    if options.tiny:
        # So few steps are lost in what surrounds them: here only the weights count.
        return 0 if result["same_weights"] else 1
    write_results(result)
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
