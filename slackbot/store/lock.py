"""A lock file beside a SQLite database: proof that one process lives on it."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from slackbot.store.errors import DatabaseInUse, StoreError


class DatabaseLock:
    """Held from construction to ``release``. The operating system frees it when the process dies, however it dies."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        if not path.parent.is_dir():
            # The lock would make the folder, and hide a misspelt DATABASE_URL.
            raise StoreError(f"DATABASE_URL names a file in {path.parent}, and there is no such folder")
        self._lock = FileLock(path)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise DatabaseInUse(
                f"another slackbot process is using {database} (it holds {path}). Stop that process first, "
                "or set DATABASE_URL to another file, or to PostgreSQL for several processes."
            ) from error
        except OSError as error:
            raise StoreError(f"cannot create the lock file {path}: {error.strerror}") from error

    def release(self) -> None:
        """Let another process in. The file stays: deleting it would let two processes lock two files of one name."""
        self._lock.release()
