"""Reads a Dockerfile, and carries out its instructions in a folder and a virtual environment, without a container.

What would change the system (apt-get, useradd and the like) is written down instead of done; every other
command runs as it stands in the file, its absolute paths moved into the folder. So a test of an image cannot
drift from it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

KEYWORDS = {
    *(
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "RUN",
    ),
    *("SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}|\$(\w+)")
NOT_DONE = ("apt-get", "chown", "groupadd", "install", "useradd")
MOVED = ("/etc/demur", "/opt/demur", "/src", "/var/lib/apt", "/var/lib/demur")


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined."""

    keyword: str
    value: str
    line: int

    @property
    def flags(self):
        """Leading ``--name=value``."""
        return dict(re.findall(r"--([\w-]+)=(\S+)", re.match(r"(?:--\S+\s+)*", self.value)[0]))

    @property
    def rest(self):
        """The value without its flags."""
        return re.sub(r"^(?:--\S+\s+)*", "", self.value)

    @property
    def words(self):
        """The list of an exec form, or None where a shell would read the value."""
        try:
            found = json.loads(self.rest)
        except ValueError:
            return None
        return found if isinstance(found, list) else None


@dataclass
class Stage:
    """What lies between two FROMs."""

    name: str
    base: str
    line: int
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, keyword):
        """The last instruction of that kind, or None."""
        return next((one for one in reversed(self.instructions) if one.keyword == keyword), None)

    def all(self, keyword):
        return [one for one in self.instructions if one.keyword == keyword]


def parse_dockerfile(text):
    """The global arguments and the stages by name, in order.

    Raises
    ------
    ValueError
        A line begins with no instruction.
    """
    stages, defaults = {}, {}
    for one in join_lines(text):
        if one.keyword not in KEYWORDS:
            raise ValueError(f"line {one.line}: {one.keyword} is no instruction")
        if one.keyword == "FROM":
            words = one.rest.split()
            name = words[2] if len(words) == 3 and words[1].upper() == "AS" else str(len(stages))
            stages[name] = Stage(name, words[0], one.line)
        elif not stages:
            assert one.keyword == "ARG", f"line {one.line}: {one.keyword} stands before the first FROM"
            name, _, value = one.value.partition("=")
            defaults[name] = value
        else:
            stages[list(stages)[-1]].instructions.append(one)
    return defaults, stages


def join_lines(text):
    """Instructions with their continued lines; comments are left out, also between continued lines."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not held):
            continue
        start = start or number
        held += line.rstrip().removesuffix("\\")
        if not line.rstrip().endswith("\\"):
            keyword, _, value = held.strip().partition(" ")
            yield Instruction(keyword, value.strip(), start)
            held, start = "", 0
    assert not held, f"line {start} is continued beyond the end"


def fill(text, values):
    """``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}``, as Docker fills them outside of RUN."""

    def put(match):
        value = values.get(match[1] or match[4], "")
        if match[2] == "-":
            return value or match[3]
        return (match[3] if value else "") if match[2] == "+" else value

    return VARIABLE.sub(put, text)


def read_ignored(path):
    """Tell of a path, relative to the root, whether a .dockerignore keeps it out: the last match decides."""
    rules = [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]

    def is_ignored(name):
        ignored = False
        for rule in rules:
            pattern, parts = rule.removeprefix("!"), name.split("/")
            heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
            if any(match_rule(pattern, head) for head in heads):
                ignored = not rule.startswith("!")
        return ignored

    return is_ignored


def match_rule(pattern, name):
    """Match as .dockerignore does: ``*`` stays in a folder, a leading ``**/`` is any depth, none too."""
    if pattern.startswith("**/"):
        return fnmatchcase(name.split("/")[-1], pattern[3:])
    return pattern.count("/") == name.count("/") and fnmatchcase(name, pattern)


def list_context(root, is_ignored):
    """The files that a build would be sent."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [one for one in folders if one not in (".git", ".venv", "node_modules")]
        names = [(Path(folder) / one).relative_to(root).as_posix() for one in files]
        found += [one for one in names if not is_ignored(one)]
    return sorted(found)


class Build:
    """A stage with everything below it, carried out in a folder.

    Parameters
    ----------
    stages, defaults
        As ``parse_dockerfile`` gives them.
    context
        The root that COPY reads from, and its files.
    root
        The folder that stands for the file system of the image.
    arguments
        As ``--build-arg``.
    is_built
        Whether the folder holds the result already: nothing is copied or run then.
    """

    def __init__(self, stages, defaults, context, root, arguments=None, *, is_built=False):
        self.stages, self.context, self.root = stages, context, root
        self.arguments = defaults | (arguments or {})
        self.environment, self.seen, self.workdir, self.log = {}, {}, "/", []
        self._done, self._is_built = set(), is_built
        self._shims = root / "shims"
        self._make_shims()

    def carry_out(self, name):
        """Everything up to the end of a stage, once."""
        stage = self.stages[name]
        if name in self._done:
            return stage
        self._done.add(name)
        base = fill(stage.base, self.arguments)
        if base in self.stages:
            self.carry_out(base)
        for one in stage.instructions:
            getattr(self, f"_{one.keyword.lower()}", lambda one: None)(one)
        return stage

    def place(self, path):
        """Where an absolute path of the image lies here."""
        return self.root / path.lstrip("/")

    def move(self, text):
        """A text with the paths of the image moved into the folder."""
        inside = "|".join(map(re.escape, MOVED))
        return re.sub(rf"(?<![\w./])({inside})(?![\w-])", lambda one: f"{self.root}{one[1]}", text)

    def run(self, command, timeout_s=7200, **changes):
        """Run a command of the image in its environment; an exit status other than 0 is a failed test."""
        given = command if isinstance(command, list) else ["/bin/sh", "-c", command]
        self.place(self.workdir).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            given,
            cwd=self.place(self.workdir),
            env=self.variables() | changes,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        self.log.append((command, done.stdout + done.stderr))
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def variables(self):
        """The environment of a process: the image's, and from outside only what pip needs to find packages."""
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "LANG"))}
        kept |= {"PATH": f"{self._shims}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.root)}
        return kept | self.seen | self.environment

    def start_words(self, stage):
        """What a container of the stage runs: entry point and command."""
        entry, command = stage.last("ENTRYPOINT"), stage.last("CMD")
        return [self.move(word) for one in (entry, command) if one is not None for word in one.words]

    def _arg(self, one):
        name, _, default = one.value.partition("=")
        self.seen[name] = self.arguments.get(name, fill(default, self.seen | self.environment))

    def _env(self, one):
        for word in shlex.split(one.value):
            name, _, value = word.partition("=")
            self.environment[name] = self.move(fill(value, self.variables()))

    def _workdir(self, one):
        self.workdir = one.value

    def _copy(self, one):
        if self._is_built:
            return
        *sources, target = one.rest.split()
        to = self.place(target if target.startswith("/") else f"{self.workdir}/{target}")
        if "from" in one.flags:
            # Stages share the folder here, so that what one built is already where the other wants it.
            assert sources == [target], f"line {one.line}: a copy between stages must keep its place"
            assert self.place(target).exists(), f"line {one.line}: {target} was not built"
            return
        root, files = self.context
        for source in sources:
            wanted = [name for name in files if name == source or name.startswith(f"{source}/")]
            assert wanted, f"line {one.line}: {source} is not in what a build is sent"
            for name in wanted:
                inner = name.removeprefix(source).lstrip("/")
                path = to / inner if inner else (to / Path(name).name if target.endswith("/") else to)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, path)

    def _run(self, one):
        if not self._is_built:
            self.run(self.move(one.rest))

    def _make_shims(self):
        self._shims.mkdir(parents=True, exist_ok=True)
        note = self.root / "not-done.txt"
        scripts = {name: f'#!/bin/sh\necho {name} "$@" >> {note}\n' for name in NOT_DONE}
        scripts["tini"] = '#!/bin/sh\nshift\nexec "$@"\n'
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        scripts["python3"] = f'#!/bin/sh\nexec {python} "$@"\n'
        for name, script in scripts.items():
            path = self._shims / name
            path.write_text(script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
