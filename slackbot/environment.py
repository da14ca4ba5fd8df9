"""Where settings come from: the environment, a ``.env`` file under it, and files that hold one secret each."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from dotenv import dotenv_values

ENV_FILE = Path(".env")

_FILE = "_FILE"
_OURS = "SLACKBOT_"


def read_environment(environ: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> dict[str, str]:
    """One mapping of both layers: ``environ`` (the process's own by default) wins over ``env_file``, if there is one.

    An empty value means "not set", and hides the one in the file too.

    Raises ``OSError`` or ``UnicodeDecodeError`` when ``env_file`` is there but cannot be read.
    """
    real = os.environ if environ is None else environ
    text = env_file.read_text(encoding="utf-8") if env_file and env_file.exists() else ""
    in_file = dotenv_values(stream=io.StringIO(text), interpolate=False)
    # NAME and NAME_FILE spell one setting: either of them hides both in the file.
    hidden = {name.removesuffix(_FILE) for name in real}
    merged = {name: value or "" for name, value in in_file.items() if name.removesuffix(_FILE) not in hidden}
    return {name: value.strip() for name, value in (merged | dict(real)).items() if value.strip()}


def read_secret_files(
    values: Mapping[str, str], secrets: Collection[str]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """``values`` with every ``NAME_FILE`` of a secret replaced by ``NAME`` and what the file holds; and (name, problem)
    for those that could not be."""
    found, problems = dict(values), list[tuple[str, str]]()
    for name in secrets:
        file = found.pop(name + _FILE, None)
        if file is None:
            continue
        if name in values:
            problems.append((name, f"and {name}_FILE are both set: keep one of them."))
            continue
        try:
            found[name] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            problems.append((name, f"cannot be read from {file}, which {name}_FILE names: {reason}."))
            continue
        if not found[name]:
            problems.append((name, f"is empty in {file}, which {name}_FILE names."))
    return found, problems


def unknown_names(values: Collection[str], known: Collection[str]) -> list[str]:
    """A sentence for each ``SLACKBOT_…`` variable that no setting has, with the name that was probably meant."""
    sentences = []
    for name in sorted(set(values) - set(known)):
        if name.startswith(_OURS):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            sentences.append(f"{name} is not a setting and has no effect; did you mean {close[0]}?")
    return sentences
