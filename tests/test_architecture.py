"""The shape of the code: import contracts, and what must stand beside it in the repository."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import slackbot

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-sdk.lock")


def pyproject() -> dict[str, Any]:
    """The project file."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_import_contracts() -> None:
    """Imports point down only, and every library stays in its room."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_are_complete(lock: str) -> None:
    """Every package of a lock file is pinned and hashed, and no line names an index, a path or an address."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 10
    for package in packages:
        assert re.match(r"[a-z0-9.-]+==\S+ (; .+ )?\\\n", package), package
        for line in package.split("\n")[1:]:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_lock_files_agree() -> None:
    """The test environment holds exactly the runtime's versions."""
    locked = [set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)) for lock in LOCKS]
    assert locked[0] < locked[1]


def test_lock_files_hold_every_dependency() -> None:
    """What pyproject.toml asks for is in the lock file of its environment."""
    project = pyproject()
    groups = project["dependency-groups"]
    wanted = (
        project["project"]["dependencies"] + groups["build"],
        project["project"]["dependencies"] + groups["build"] + groups["test"],
        groups["sdk"],
    )
    for lock, requirements in zip(LOCKS, wanted, strict=True):
        locked = set(re.findall(r"^(\S+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        assert {re.split(r"[\[><=]", requirement)[0] for requirement in requirements} <= locked


def test_one_version() -> None:
    """The version stands in one place; an installed slackbot has no other."""
    assert pyproject()["tool"]["hatch"]["version"]["path"] == "slackbot/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", slackbot.__version__)


def test_every_module_and_class_says_its_purpose() -> None:
    """Each module and each public class of the package opens with a sentence."""
    silent = []
    for file, tree in sources():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        silent += [f"{file}: {node.name}" for node in classes if not ast.get_docstring(node)]
        silent += [] if ast.get_docstring(tree) else [file]
    assert silent == []


def test_log_fields_have_names_of_their_own() -> None:
    """No field of a log event is called like an attribute of logging's records, which logging refuses to overwrite."""
    reserved = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    clashes = []
    for file, tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.keyword(arg="extra", value=ast.Dict(keys=keys)):
                    pass
                case ast.Assign(targets=[ast.Name(id="ids")], value=ast.Dict(keys=keys)):
                    pass
                case _:
                    continue
            names = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
            clashes += [f"{file}:{node.lineno} {name}" for name in sorted(names & reserved)]
    assert clashes == []


def sources() -> list[tuple[str, ast.Module]]:
    """Every module of the package, parsed."""
    files = sorted((ROOT / "slackbot").rglob("*.py"))
    return [(str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))) for file in files]
