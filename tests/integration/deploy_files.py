"""Readers of the files of a deployment: YAML, what Compose and kustomize make of them, names in queries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
UNITS = {"": 1} | {
    f"{letter}{i}": (1024 if i else 1000) ** power for power, letter in enumerate("KMGT", 1) for i in ("", "i")
}
REFERENCE = re.compile(r"\$\{secret:([^}#]+)")


def find_program(*names):
    """The first of these programs beside this Python or on the path, else the test is skipped."""
    for name in names:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.exists() else shutil.which(name)
        if found:
            return found
    pytest.skip(f"none of {', '.join(names)} is installed")


def call(*command, timeout_s=120, **settings):
    """A finished command; what it said is the message where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **settings)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def read_yaml(path):
    """All documents of a file."""
    return list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))


def compose_model(*files, profiles="*", **variables):
    """What Docker Compose makes of files: checked by its own schema, merged, variables filled. Needs no engine."""
    command = [find_program("docker-compose")]
    for file in files:
        command += ["--file", str(DEPLOY / file)]
    outside = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    said = call(*command, "--profile", profiles, "config", "--format", "json", env=outside | variables)
    return json.loads(said)


@cache
def rendered(folder):
    """The objects of a kustomization as kubectl renders them, as JSON text to be parsed anew by each caller."""
    said = call(find_program("kubectl"), "kustomize", str(DEPLOY / "kubernetes" / folder))
    return json.dumps([one for one in yaml.safe_load_all(said) if one])


def find_object(objects, kind, name=None):
    """The one object of a kind, or of a kind and name."""
    (found,) = [
        one for one in objects if one["kind"] == kind and (name is None or one["metadata"]["name"] == name)
    ]
    return found


def size_in_bytes(text):
    """Bytes of ``2Gi``, ``500M`` and so on."""
    number, unit = re.fullmatch(r"(\d+)(|[KMGT]i?)", str(text)).groups()
    return int(number) * UNITS[unit]


def used_in_query(query):
    """Each metric of a query with the labels that it is chosen or grouped by, by the grammar of PromQL.

    Raises
    ------
    ValueError
        It is no PromQL.
    """
    found = {}
    _walk_query(pytest.importorskip("promql_parser").parse(query), frozenset(), found)
    return found


def _walk_query(node, grouped, found):
    """Labels of ``by`` and ``on`` hold for everything below them."""
    kind = type(node).__name__
    if kind == "VectorSelector":
        labels = {matcher.name for matcher in node.matchers.matchers}
        if node.name:
            found[node.name] = found.get(node.name, set()) | labels | grouped
        return
    modifier = getattr(node, "modifier", None)
    if kind == "AggregateExpr" and modifier is not None and "By" in str(modifier.type):
        grouped = grouped | set(modifier.labels)
    if kind == "BinaryExpr" and modifier is not None and str(modifier.matching or "").startswith("on"):
        grouped = grouped | set(modifier.matching.labels)
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for one in [*inner, *(getattr(node, "args", None) or ())]:
        if one is not None:
            _walk_query(one, grouped, found)


def secrets_of(*texts):
    """The names of the secrets that files, or texts, refer to."""
    return {name for one in texts for name in REFERENCE.findall(one if isinstance(one, str) else one.read_text())}
