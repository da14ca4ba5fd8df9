"""What the value of a setting must look like.

Each function returns the value as the program uses it, or raises ``ValueError`` with words that continue the setting's
name. The words never quote a value that may hold a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

_TOKENS = {"xapp-": "an app-level token", "xoxb-": "a bot token", "xoxp-": "a user token"}


def _slack_token(secret: SecretStr, prefix: str) -> SecretStr:
    # With token rotation Slack puts "xoxe." before the usual prefix.
    token = secret.get_secret_value().removeprefix("xoxe.")
    if not token.startswith(prefix):
        found = f"; this is {_TOKENS[token[:5]]}" if token[:5] in _TOKENS else ""
        raise ValueError(f"must be {_TOKENS[prefix]}, which begins with {prefix}{found}.")
    return printable(secret)


def bot_token(secret: SecretStr) -> SecretStr:
    """``xoxb-…``."""
    return _slack_token(secret, "xoxb-")


def app_token(secret: SecretStr) -> SecretStr:
    """``xapp-…``."""
    return _slack_token(secret, "xapp-")


def signing_secret(secret: SecretStr) -> SecretStr:
    """Anything but a token."""
    if secret.get_secret_value().startswith(("xox", "xapp-")):
        raise ValueError("must be the app's signing secret; this is a token.")
    return printable(secret)


def printable(secret: SecretStr) -> SecretStr:
    """Characters that may stand in an HTTP header."""
    if re.search(r"[^\x21-\x7e]", secret.get_secret_value()):
        raise ValueError("holds a space or another character that cannot be part of it.")
    return secret


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # What urlsplit says quotes the address, and with it a password that holds a slash.
        raise ValueError("is not a valid address; special characters in a password must be percent-encoded.") from None
    return parts


def base_url(url: str) -> str:
    """An http(s) address that paths can be put behind, without a slash at its end."""
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://host or https://host/path.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold nothing but scheme, host, port and path: no user, password, ? or #.")
    return url.rstrip("/")


def api_url(url: str) -> str:
    """Such an address with the slash at its end, as Slack's SDK wants it."""
    return base_url(url) + "/"


def database_url(secret: SecretStr) -> SecretStr:
    """A SQLite file or a PostgreSQL database, without a driver's name."""
    url = secret.get_secret_value()
    if url.startswith("postgres://"):  # several hosting platforms hand it out like this
        url = url.replace("postgres", "postgresql", 1)
    parts = _split(url)
    if parts.scheme == "sqlite":
        _sqlite_file(url)
    elif parts.scheme != "postgresql":
        driver = " without a driver's name" if "+" in parts.scheme else ""
        raise ValueError(f"must begin with sqlite:/// or postgresql://{driver}: other databases are not supported.")
    elif not parts.path.strip("/"):
        raise ValueError("must name a database: postgresql://user:password@host/database.")
    return SecretStr(url)


def _sqlite_file(url: str) -> None:
    file = Path(url.partition("?")[0].removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or file.name in {"", ":memory:"}:
        raise ValueError("must name a file: sqlite:///name.db here, or sqlite:////full/path/name.db.")
    if not file.parent.is_dir():
        raise ValueError(f"names a file in {file.parent}, and there is no such folder.")


def _ids(raw: str, kind: str, where: str) -> frozenset[str]:
    ids = _entries(raw)
    if wrong := sorted(part for part in ids if not re.fullmatch(rf"[{kind}][A-Z0-9]{{2,}}", part)):
        raise ValueError(f"takes ids such as {kind[0]}0123ABCD, separated by commas, not {', '.join(wrong)}. {where}")
    return ids


def channel_ids(raw: str) -> frozenset[str]:
    """Ids of channels, comma separated."""
    return _ids(raw, "CG", "Click the channel's name in Slack: its id is at the bottom of the window that opens.")


def channel_id(raw: str) -> str:
    """The id of one channel, or nothing."""
    return _one(channel_ids(raw))


def group_id(raw: str) -> str:
    """The id of one user group, or nothing."""
    return _one(_ids(raw, "S", "In Slack, open the group under Directories > People > User groups and copy its ID."))


def _one(ids: frozenset[str]) -> str:
    if len(ids) > 1:
        raise ValueError("takes one id.")
    return next(iter(ids), "")


def phrases(raw: str) -> frozenset[str]:
    """Phrases in lower case, comma separated."""
    return frozenset(phrase for piece in raw.lower().split(",") if (phrase := " ".join(piece.split())))


def names(raw: str) -> frozenset[str]:
    """Names, comma separated."""
    return _entries(raw)


def user_ids(raw: str) -> frozenset[str]:
    """Ids of people, comma separated."""
    return _ids(raw, "UW", "In Slack, open the person's profile, press the three dots and choose Copy member ID.")


def file_types(raw: str) -> frozenset[str]:
    """Endings such as ``.exe`` and MIME types such as ``video/*``, comma separated."""
    types = _entries(raw.lower())
    for entry in types:
        if not re.fullmatch(r"\.[\w.-]+|[\w-]+/(?:\*|[\w.+-]+)", entry):
            raise ValueError(f"holds {entry!r}: write endings with their dot (.exe) or MIME types (video/*).")
    return types


def file_hosts(raw: str) -> frozenset[str]:
    """Names of hosts, perhaps with a port, comma separated."""
    hosts = _entries(raw.lower())
    for entry in hosts:
        if not re.fullmatch(r"[a-z0-9.-]+(?::\d{1,5})?", entry):
            raise ValueError(f"holds {entry!r}: write hosts alone, such as files.example.com or 10.0.0.5:8443.")
    return hosts


def _entries(raw: str) -> frozenset[str]:
    return frozenset(part for part in re.split(r"[,\s]+", raw) if part)
