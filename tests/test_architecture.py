"""The rules of the house that a machine can hold: sizes, imports, surfaces, docstrings, mirror of tests."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "demur"
TESTS = ROOT / "tests"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 80, 6
LEAST_TESTS = 0.8
"""Lines of tests for each line of source."""

LAYERS = (
    ("__main__",),
    ("cli",),
    ("serve",),
    ("certify",),
    ("report",),
    ("stress", "harden"),
    ("analysis",),
    ("experiment",),
    ("label", "collect"),
    ("models",),
    ("training",),
    ("data",),
    ("llm",),
    ("store",),
    ("engine",),
    ("metrics",),
    ("tasks", "config", "errors", "locks", "paths", "registry", "_lazy", "__init__"),
)
"""The layers of the design, the highest first; an import only ever points down, or stays in its package."""
UPWARD = {
    ("experiment", "analysis"): "a run ends with the statistics of its models",
    ("experiment", "report"): "a run ends with its report",
}
"""Allowed all the same, with the reason; the package imported may then not import the other, at any depth."""

HEAVY = {
    *("accelerate", "datasets", "datasketch", "demur.data", "demur.experiment", "demur.models", "fastapi", "ftfy"),
    *(
        "httpx",
        "jinja2",
        "joblib",
        "matplotlib",
        "numpy",
        "onnx",
        "onnxruntime",
        "pandas",
        "peft",
        "polars",
        "psutil",
    ),
    *(
        "lightgbm",
        "mlflow",
        "optuna",
        "py3langid",
        "pydantic_settings",
        "ray",
        "scipy",
        "shap",
        "sklearn",
        "skops",
        "tokenizers",
        "torch",
    ),
    *("alembic", "boto3", "psycopg", "prometheus_client", "sqlalchemy", "transformers", "uvicorn", "xgboost"),
}
"""What neither ``import demur`` nor any help may import."""
NOT_IN_ROOT_HELP = {"pydantic", "rich", "yaml"}
TESTS_WITHOUT_MODULE = {"test_access.py", "test_contract.py", "test_init.py", "test_privacy.py"}
"""Tests of a package as a whole."""
UNSAFE = {"pickle.load", "pickle.loads", "joblib.load", "dill.load", "marshal.loads", "yaml.load", "eval", "exec"}
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:work|home|root|tmp|Users|mnt)/\w")
TEXT_FILES = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".j2", ".html", ".css", ".cfg", ".txt", ""}


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def named(path):
    return str(path.relative_to(ROOT))


def dotted(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name):
    return next((number for number, names in enumerate(LAYERS) if name in names), None)


def own_package(path):
    """The layer's package a file is of: ``models`` for src/demur/models/classical/_model.py."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def imports_of(path):
    """Everything of demur a file imports, wherever in it: (line, dotted name)."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)}:{node.lineno} imports relatively; write the full name"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return [(line, name) for line, name in found if name.split(".")[0] == "demur"]


def functions_of(path):
    """Every function of a file with its name in it: (node, (class, function))."""

    def walk(node, above):
        for child in ast.iter_child_nodes(node):
            inside = above
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = (*above, child.name)
                if not isinstance(child, ast.ClassDef):
                    yield child, inside
            yield from walk(child, inside)

    return walk(tree_of(path), ())


def public_surfaces():
    """Every package with a list of names."""
    return [dotted(path) for path in MODULES if path.name == "__init__.py" and "attach(" in path.read_text()]


def public_objects():
    """Every listed function and class that demur itself defines: (where, object)."""
    found = {}
    for package in public_surfaces():
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            is_ours = getattr(thing, "__module__", "").startswith("demur.")
            if is_ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return sorted(found.items())


def is_method(value):
    return inspect.isfunction(getattr(value, "__func__", value))


# Sizes


def test_no_module_is_longer_than_400_lines():
    assert [f"{named(path)}: {lines_of(path)}" for path in MODULES if lines_of(path) > LONGEST_MODULE] == []


def test_no_function_is_longer_than_80_lines():
    found = [
        f"{named(path)}: {'.'.join(name)} has {node.end_lineno - node.lineno + 1}"
        for path in MODULES
        for node, name in functions_of(path)
        if node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]
    assert found == []


def test_no_function_takes_more_than_6_parameters():
    """The options of a verb of the command line are not counted."""
    found = []
    for path in MODULES:
        for node, name in functions_of(path):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in given)
            if count > MOST_PARAMETERS and own_package(path) != "cli":
                found.append(f"{named(path)}: {'.'.join(name)} takes {count}; give it a config")
    assert found == []


# Imports


def is_allowed(own, other):
    return other == own or layer_of(other) > layer_of(own) or layer_of(other) == len(LAYERS) - 1


def test_every_package_stands_in_a_layer():
    assert {own_package(path) for path in MODULES if layer_of(own_package(path)) is None} == set()


def test_imports_only_point_down_the_layers():
    """Imports inside functions and under TYPE_CHECKING count too; the root only lists what it offers."""
    found = []
    for path in MODULES:
        own = own_package(path)
        for line, name in imports_of(path) if own != "__init__" else ():
            other = next((part for part in name.split(".")[1:2] if layer_of(part) is not None), "__init__")
            if not is_allowed(own, other) and (own, other) not in UPWARD:
                found.append(f"{named(path)}:{line} imports {name}, which is above it")
    assert found == []


@pytest.mark.parametrize(("lower", "upper"), sorted(UPWARD))
def test_an_allowed_upward_import_makes_no_circle(lower, upper):
    seen, todo = set(), [upper]
    while todo:
        package = todo.pop()
        seen.add(package)
        for path in MODULES:
            if own_package(path) == package:
                todo += {name.split(".")[1] for _, name in imports_of(path) if "." in name} - seen
    assert lower not in seen


def test_other_packages_import_only_the_list():
    """Files behind a package's list begin with ``_`` and may move freely."""
    found = []
    for path in MODULES:
        for line, name in imports_of(path):
            package, *rest = name.split(".")[1:] or [""]
            is_hidden = any(part.startswith("_") for part in rest[:-1])
            if is_hidden and package != own_package(path):
                found.append(f"{named(path)}:{line} reaches into {name}")
    assert found == []


def test_a_package_is_only_a_list():
    kinds = ast.Import | ast.ImportFrom | ast.Expr | ast.If | ast.Assign
    found = [
        f"{named(path)}:{node.lineno}"
        for path in MODULES
        for node in tree_of(path).body
        if path.name == "__init__.py" and not isinstance(node, kinds)
    ]
    assert found == []


def modules_after(code):
    """The modules imported in a fresh process once it has run this."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def after_help(*arguments):
    return modules_after(
        f"from demur.cli.main import run_command\nassert run_command({[*arguments, '--help']!r}) == 0"
    )


def test_importing_demur_imports_nothing_heavy():
    assert modules_after("import demur") & HEAVY == set()


def test_help_imports_click_and_the_standard_library():
    assert after_help() & (HEAVY | NOT_IN_ROOT_HELP) == set()


@pytest.mark.parametrize(
    "verb", ["run", "score", "compare", "data", "models", "config", "harden", "serve", "store"]
)
def test_help_of_a_verb_imports_nothing_heavy(verb):
    assert after_help(verb) & HEAVY == set()


# Public surface


@pytest.mark.parametrize("package", public_surfaces())
def test_the_list_of_a_package_is_sorted_and_every_name_resolves(package):
    module = importlib.import_module(package)
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", public_surfaces())
def test_type_checkers_see_the_very_names_of_the_list(package):
    module = importlib.import_module(package)
    (block,) = [node for node in tree_of(Path(module.__file__)).body if isinstance(node, ast.If)]
    seen = {alias.asname for node in block.body for alias in node.names}
    assert seen == set(module.__all__)


# Docstrings


def test_every_module_says_its_job():
    assert [named(path) for path in MODULES if not ast.get_docstring(tree_of(path))] == []


def test_every_public_name_and_method_has_a_docstring():
    found = []
    for name, thing in public_objects():
        if not (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__):
            found.append(name)
        if inspect.isclass(thing):
            # A method that fills in one of its base is described there.
            methods = [one for one, value in vars(thing).items() if not one.startswith("_") and is_method(value)]
            found += [f"{name}.{one}" for one in methods if not inspect.getdoc(getattr(thing, one))]
    assert found == []


def documented_parameters(node):
    """Names under ``Parameters``; several may share a line."""
    section = re.search(
        r"^Parameters\n-{3,}\n(.*?)(?=^\w[\w ]*\n-{3,}\n|\Z)",
        ast.get_docstring(node) or "",
        re.DOTALL | re.MULTILINE,
    )
    heads = [line for line in section[1].splitlines() if line and not line.startswith(" ")] if section else []
    return {name.strip(" *") for head in heads for name in head.split(":")[0].split(",")}


def real_parameters(node):
    """Names a function takes; of a class those of its ``__init__``, else its annotated fields."""
    if isinstance(node, ast.ClassDef):
        starts = [child for child in node.body if getattr(child, "name", "") == "__init__"]
        if not starts:
            return {child.target.id for child in node.body if isinstance(child, ast.AnnAssign)}
        (node,) = starts
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return {argument.arg for argument in every if argument is not None}


def test_documented_parameters_are_those_of_the_signature():
    found = [
        f"{named(path)}: {node.name} documents {sorted(documented_parameters(node) - real_parameters(node))}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and documented_parameters(node) - real_parameters(node)
    ]
    assert found == []


def test_the_check_of_parameters_sees_a_wrong_name():
    code = 'def f(a, b):\n    """Do.\n\n    Parameters\n    ----------\n    a, c\n        Words.\n    """'
    (node,) = ast.parse(code).body
    assert documented_parameters(node) - real_parameters(node) == {"c"}


# Safety


def test_nothing_is_called_that_runs_code_out_of_a_file():
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                called, keywords = (
                    ast.unparse(node.func),
                    {one.arg: ast.unparse(one.value) for one in node.keywords},
                )
                trusts = {keywords.get("allow_pickle"), keywords.get("trust_remote_code")} - {None, "False"}
                pickled = called == "torch.load" and keywords.get("weights_only") != "True"
                if called in UNSAFE or trusts or pickled:
                    found.append(f"{named(path)}:{node.lineno} calls {called}")
    assert found == []


def test_no_file_names_a_path_of_somebodys_machine():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    found = []
    for path in (ROOT / name for name in done.stdout.splitlines()):
        if path.is_file() and path.suffix in TEXT_FILES and path != Path(__file__):
            seen = MACHINE_PATH.search(path.read_text(encoding="utf-8"))
            found += [f"{named(path)} names {seen[0]}..."] if seen else []
    assert found == []


@pytest.mark.parametrize("path", sorted((SOURCE / "models" / "rules" / "lists").glob("*.yaml")), ids=named)
def test_each_keyword_list_has_a_source_and_a_licence(path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found["task"] == path.stem
    assert found["source"]
    assert found["license"]


def test_each_public_layout_has_an_address_and_a_licence():
    layouts = yaml.safe_load((SOURCE / "data" / "sources" / "layouts.yaml").read_text(encoding="utf-8"))
    for name, layout in layouts.items():
        assert layout["url"].startswith("https://"), name
        assert layout["license"], name


def test_the_starter_corpus_has_a_card_with_its_licence():
    card = (SOURCE / "data" / "starter" / "CARD.md").read_text(encoding="utf-8")
    assert re.search(r"licen[cs]e", card, re.IGNORECASE)


# Tests


def test_the_tests_mirror_the_tree():
    """``src/demur/data/_clean.py`` is tested in ``tests/unit/data/test_clean.py``, where it holds any function."""
    missing = []
    for path in MODULES:
        inside = path.relative_to(SOURCE)
        test = TESTS / "unit" / inside.parent / f"test_{inside.stem.strip('_')}.py"
        if path.name != "__init__.py" and any(True for _ in functions_of(path)) and not test.exists():
            missing.append(named(test))
    assert missing == []


def test_no_test_file_is_left_without_its_module():
    orphans = []
    for path in sorted((TESTS / "unit").rglob("test_*.py")):
        inside = path.relative_to(TESTS / "unit")
        stem = inside.stem.removeprefix("test_")
        has_module = any((SOURCE / inside.parent / f"{lead}{stem}.py").exists() for lead in ("", "_"))
        if not has_module and path.name not in TESTS_WITHOUT_MODULE:
            orphans.append(named(path))
    assert orphans == []


def test_there_are_nearly_as_many_lines_of_tests_as_of_source():
    source = sum(map(lines_of, MODULES))
    tests = sum(map(lines_of, TESTS.rglob("*.py")))
    assert tests >= LEAST_TESTS * source, f"{tests} lines of tests for {source} of source"


def test_every_expected_error_is_matched_by_its_words():
    """Ctrl-C and exceptions that a test makes up itself have no words to match."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        nodes = list(ast.walk(tree_of(path)))
        wordless = {node.name for node in nodes if isinstance(node, ast.ClassDef)} | {"KeyboardInterrupt"}
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises":
                is_matched = any(one.arg in ("match", "check") for one in node.keywords)
                if not is_matched and ast.unparse(node.args[0]) not in wordless:
                    found.append(f"{named(path)}:{node.lineno}")
    assert found == []
