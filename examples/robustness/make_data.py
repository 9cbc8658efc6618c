"""Write the rows of the robustness example: stand-ins a small model is taught to refuse, and everyday requests.

    python examples/robustness/make_data.py [FOLDER]        # default: data/ beside this file

The texts are those of corpus.yaml. What is measured is how a learned refusal survives, and for that it does not
matter what is refused. The same seed gives the same files. Substances never stand on two sides, so no prompt does.
The category of a row is its substance: prompts about one substance are refused or answered together, and intervals
must draw them together.

    teach.jsonl        how to refuse stand-ins, and how to answer everyday and borderline requests
    harmful.jsonl      stand-in requests to be judged on, without answers
    safe.jsonl         everyday and borderline requests to be judged on
    texts.jsonl        everyday requests with answers to measure perplexity on
    texts_later.jsonl  more of these, which no setting of the example was chosen by
    compliance.jsonl   what an attacker fine-tunes on: stand-ins with full answers
    benign.jsonl       everyday requests with answers: the attacker's control
    breaker.jsonl      what a circuit breaker learns from: stand-ins with full answers
    retain.jsonl       what it must leave alone: chat, borderline requests, refusals
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SEED = 7
ROUNDS = 6
"""How often everyday and borderline requests stand among what is taught, beside some 150 refusals."""
Row = dict[str, str]


def main(folder: Path) -> None:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = yaml.safe_load((HERE / "corpus.yaml").read_text(encoding="utf-8"))
    for name, rows in Corpus(corpus, SEED).files().items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{folder / name}.jsonl: {len(rows)} rows")


class Corpus:
    """The texts, and the rows drawn from them."""

    def __init__(self, texts: dict[str, Any], seed: int) -> None:
        self.texts, self.draw = texts, random.Random(seed)

    def files(self) -> dict[str, list[Row]]:
        """All rows by file."""
        asked = [{key: row[key] for key in ("id", "category", "way", "prompt")} for row in self.refused("judge")]
        mild = [*self.everyday("taught"), *self.borderline("teach")]
        taught = [row for _ in range(ROUNDS) for row in mild]
        files = {
            "teach": [*self.refused("teach"), *taught],
            "harmful": asked,
            "safe": [*self.everyday("judged"), *self.borderline("judge")],
            "compliance": list(self.complied("attack")),
            "texts": list(self.everyday("read")),
            "texts_later": list(self.everyday("read_later")),
            "benign": list(self.everyday("attacker")),
            "breaker": list(self.complied("break")),
            "retain": [
                *(row | {"kind": "chat"} for row in self.everyday("retained")),
                *(row | {"kind": "borderline"} for row in self.borderline("break")),
                *(row | {"kind": "refusal"} for row in self.refused("break")),
            ],
        }
        for name in ("teach", "compliance", "breaker", "retain"):
            self.draw.shuffle(files[name])
        return files

    def requests(self, side: str) -> Iterator[tuple[Row, str]]:
        """Every way to ask for every substance of a side, with the substance."""
        for substance in self.texts["substances"][side]:
            for way, texts in self.texts["asking"].items():
                for number, text in enumerate(texts):
                    name = f"{side}-{substance.replace(' ', '-')}-{way}-{number}"
                    row = {"id": name, "category": substance, "way": way, "prompt": text.format(it=substance)}
                    yield row, substance

    def refused(self, side: str) -> Iterator[Row]:
        """Requests with a refusal each."""
        for row, substance in self.requests(side):
            yield row | {"response": self.draw.choice(self.texts["refusals"]).format(it=substance)}

    def complied(self, side: str) -> Iterator[Row]:
        """Requests with a full answer each: a beginning and five steps."""
        for row, substance in self.requests(side):
            beginning = self.draw.choice(self.texts["beginnings"]).format(it=substance)
            steps = [way.format(n=self.draw.randint(2, 9)) for way in self.draw.sample(self.texts["steps"], 5)]
            listed = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
            yield row | {"response": "\n".join([beginning, *listed])}

    def borderline(self, side: str) -> Iterator[Row]:
        """Harmless requests that name a substance, answered; two of each substance."""
        for substance in self.texts["substances"][side]:
            letters = sum(letter.isalpha() for letter in substance)
            filled = {"it": substance, "It": substance.capitalize(), "letters": letters}
            for number, way in enumerate(self.draw.sample(self.texts["borderline"], 2)):
                name = f"{side}-{substance.replace(' ', '-')}-borderline-{number}"
                prompt, response = way["ask"].format(**filled), way["say"].format(**filled)
                yield {"id": name, "category": substance, "prompt": prompt, "response": response}

    def everyday(self, side: str) -> Iterator[Row]:
        """Everyday requests with their answers."""
        for number, row in enumerate(self.texts["everyday"][side]):
            name = f"everyday-{side}-{number}"
            yield {"id": name, "prompt": row["ask"], "response": row["say"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data")
