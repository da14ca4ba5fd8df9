"""What was put off before the database's clock was set back: it would wait until that clock says the same again."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Update, and_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from slackbot.store.models import TurnRow, epoch_now, is_parked, is_running

_LONGEST: Final = 180.0
"""Seconds. Nothing that waits or runs is put off for longer."""
_PARKED_LONGEST: Final = 900.0
"""Seconds. What is parked may be looked at as late as that."""
_BATCH: Final = 500
_SOON: Final = 30.0
"""Seconds. Who lives has renewed its leases by then."""


def lies_ahead(moment: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Whether something is still to wait until then."""
    return and_(moment > epoch_now(), moment <= epoch_now() + _LONGEST)


def bring_nearer(connection: Connection) -> bool:
    """Have all of it looked at soon, where an index finds it by the time alone; True when there may be more."""
    return max(connection.execute(statement).rowcount for statement in _NEARER) >= _BATCH


def _nearer(moment: InstrumentedAttribute[Any], state: ColumnElement[bool], longest: float) -> Update:
    far = select(TurnRow.id).where(state, moment > epoch_now() + longest).order_by(moment.desc()).limit(_BATCH)
    these = TurnRow.id.in_(far.with_for_update(skip_locked=True).scalar_subquery())
    return update(TurnRow).where(these).values({moment: epoch_now() + _SOON})


_NEARER: Final = [
    _nearer(TurnRow.lease_until, is_running(TurnRow), _LONGEST),
    _nearer(TurnRow.parked_until, is_parked(TurnRow), _PARKED_LONGEST),
    _nearer(TurnRow.echoes_at, TurnRow.echoes_at.is_not(None), _LONGEST),
]
