"""Rules for a Dockerfile beyond hadolint's: what an image of a guard must and must not be."""

from __future__ import annotations

import re

from integration.dockerfile import fill, parse_dockerfile

FINAL = ("dev", "train", "api")
"""The stages that become images."""
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+[\w.-]*$")
SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|(?<!\w)KEY|_KEY)", re.IGNORECASE)


def find_faults(text, bases=("cpu", "gpu")):
    """What is wrong with a Dockerfile, a sentence each with its line; empty for a good one."""
    defaults, stages = parse_dockerfile(text)
    faults = [f"there is no stage {name}" for name in FINAL if name not in stages]
    for stage in stages.values():
        faults += _check_base(stage, stages, defaults, bases)
        for one in stage.instructions:
            faults += [f"line {one.line}: {said}" for said in _check_instruction(one)]
    for name in FINAL:
        if name in stages:
            faults += [f"stage {name}: {said}" for said in _check_final(stages[name])]
    return faults


def find_bases(text, bases=("cpu", "gpu")):
    """The images from elsewhere that the stages stand on."""
    defaults, stages = parse_dockerfile(text)
    named = {fill(stage.base, defaults | {"BASE": base}) for stage in stages.values() for base in bases}
    return sorted(named - set(stages))


def _check_base(stage, stages, defaults, bases):
    for base in bases:
        name = fill(stage.base, defaults | {"BASE": base})
        if name in stages:
            if list(stages).index(name) >= list(stages).index(stage.name):
                yield f"line {stage.line}: {name} comes after {stage.name}"
        elif not PINNED.match(name):
            yield f"line {stage.line}: {name} is not pinned to a version"


def _check_instruction(one):
    if one.keyword == "ADD":
        yield "ADD fetches and unpacks; use COPY"
    if one.keyword in ("ARG", "ENV") and SECRET_NAME.search(one.value.partition("=")[0]):
        yield "a secret in ARG or ENV stays in the image"
    if one.keyword in ("ENTRYPOINT", "CMD", "SHELL") and one.words is None:
        yield f"{one.keyword} must be a list, or signals end at a shell"
    if one.keyword == "RUN":
        yield from _check_run(one.value)


def _check_run(command):
    if "apt-get install" in command:
        if "apt-get update" not in command:
            yield "apt-get install without update takes a list from an old layer"
        if "rm -rf /var/lib/apt/lists" not in command:
            yield "the lists of apt stay in the layer"
        if "--no-install-recommends" not in command:
            yield "apt-get installs what is only recommended"
        if not re.search(r"install (--\S+ )*(--yes|-y)", command):
            yield "apt-get would ask"
    for install in re.findall(r"pip install[^;&|]*", command):
        if "--no-cache-dir" not in install:
            yield "pip keeps its cache in the layer"
        if "--constraint constraints.txt" not in install:
            yield "pip installs without constraints.txt"
    if re.search(r"\b(curl|wget)\b", command):
        yield "something is fetched that nothing checks"
    if re.search(r"chmod\s+(-R\s+)?[0-7]?777", command):
        yield "everybody may write there"
    if re.search(r"\bsudo\b", command):
        yield "sudo is of no use here"


def _check_final(stage):
    user = stage.last("USER")
    if user is None or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.value):
        yield "it must end as a user by number that is not root, which Kubernetes can check"
    elif any(one.keyword in ("RUN", "COPY") and one.line > user.line for one in stage.instructions):
        yield "something is built after USER"
    for one in stage.all("COPY"):
        if "chown" not in one.flags:
            yield f"line {one.line}: COPY does not say whose the files are"
        elif one.flags["chown"] != "root:root":
            yield f"line {one.line}: the server could change its own program"
    for keyword in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        if stage.last(keyword) is None:
            yield f"it has no {keyword}"
    check = stage.last("HEALTHCHECK")
    if stage.last("EXPOSE") is not None and stage.name == "api" and (check is None or check.value == "NONE"):
        yield "it serves and nothing looks whether it does"
    entry = stage.last("ENTRYPOINT")
    if entry is not None and (entry.words or [None])[0] != "tini":
        yield "nothing ends the processes that others leave behind"
