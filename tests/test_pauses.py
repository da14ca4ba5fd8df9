"""Pauses between tries: spread, and as long as meant on the whole."""

from __future__ import annotations

from slackbot.pauses import jittered


def test_no_two_come_back_together() -> None:
    """Within a quarter of what was meant, on both sides of it, and none like another."""
    pauses = [jittered(8.0) for _ in range(300)]
    assert all(6.0 <= pause <= 10.0 for pause in pauses)
    assert len(set(pauses)) == 300
    assert min(pauses) < 7.0
    assert max(pauses) > 9.0
