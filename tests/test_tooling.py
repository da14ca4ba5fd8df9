"""The Makefile's words to those whose machine lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with what ``make setup`` starts from, and ``bin`` for programs that stand in for the machine's."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def put_program(folder: Path, name: str, script: str) -> None:
    """A program of that name."""
    program = folder / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def make_setup(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``make setup`` there, on a path that holds no Python but the ones put there."""
    for tool in ("make", "sh", "head", "touch"):
        found = shutil.which(tool)
        assert found
        (folder / "bin" / tool).symlink_to(found)
    return subprocess.run(
        ["make", "setup", *arguments],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


OLD = 'case "$1" in --version) echo "Python 3.9.18";; *) exit 1;; esac'


def test_too_old_python(copy: Path) -> None:
    """A too old Python is named with its version, and how to name another."""
    put_program(copy, "python3", OLD)
    done = make_setup(copy)
    assert done.returncode != 0
    assert "slackbot needs Python 3.11 or newer." in done.stderr
    assert "python3 is Python 3.9.18" in done.stderr
    assert "PYTHON=python3.12 make setup" in done.stderr


def test_no_python(copy: Path) -> None:
    """No Python at all gets the same words."""
    done = make_setup(copy)
    assert done.returncode != 0
    assert "slackbot needs Python 3.11 or newer." in done.stderr


def test_named_python_is_the_only_one_tried(copy: Path) -> None:
    """PYTHON=… does not fall back to another."""
    put_program(copy, "python3", f'exec {sys.executable} "$@"')
    put_program(copy, "mypython", OLD)
    done = make_setup(copy, "PYTHON=mypython")
    assert done.returncode != 0
    assert "Looked for: mypython." in done.stderr


def test_no_venv_module(copy: Path) -> None:
    """A Python without venv, as on Debian, gets the package to install; an older python3 beside it does no harm."""
    no_venv = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    put_program(copy, "python3", OLD)
    put_program(copy, "python3.12", no_venv)
    done = make_setup(copy)
    assert done.returncode != 0
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt-get install python{version}-venv" in done.stderr
    assert not (copy / ".venv").exists()


def test_second_setup_does_nothing(copy: Path) -> None:
    """When the environment is newer than what it was made from, setup only says where the command is."""
    (copy / ".venv").mkdir()
    (copy / ".venv" / ".runtime-installed").touch()
    done = make_setup(copy)
    assert (done.returncode, done.stdout) == (0, "Ready: .venv/bin/slackbot --help\n"), done.stderr
