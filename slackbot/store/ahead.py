"""What was put off before the database's clock was set back: it would wait until that clock says the same again."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, update
from sqlalchemy.orm import InstrumentedAttribute

from slackbot.store.models import TurnRow, epoch_now, is_parked, is_running

_LONGEST: Final = 900.0
"""Seconds. Nothing that waits or runs is put off for longer."""
_SOON: Final = 30.0
"""Seconds. Who lives has renewed its leases by then."""


def lies_ahead(moment: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Whether something is still to wait until then."""
    return and_(moment > epoch_now(), moment <= epoch_now() + _LONGEST)


def bring_nearer(connection: Connection) -> None:
    """Have all of it looked at soon, where an index finds it by the time alone."""
    for statement in _NEARER:
        connection.execute(statement)


_NEARER: Final = [
    update(TurnRow).where(state, moment > epoch_now() + _LONGEST).values({moment: epoch_now() + _SOON})
    for moment, state in (
        (TurnRow.lease_until, is_running(TurnRow)),
        (TurnRow.parked_until, is_parked(TurnRow)),
        (TurnRow.echoes_at, TurnRow.echoes_at.is_not(None)),
    )
]
