"""What the simulated Noxus tells of a question: who comes back after a death can know that much, and no more."""

from __future__ import annotations

from slackbot.simulator.noxus import NoxusSimulator
from slackbot.simulator.noxus.conversations import SimConversation
from slackbot.simulator.noxus.history import SimMessage
from slackbot.simulator.noxus.server import Request
from tests.chaos.shown import MARK, bare


def tells_whole(noxus: NoxusSimulator, mark: str, whole: str) -> bool:
    """Whether it says to whoever asks that it has the question and its ``whole`` answer (``bare``), or
    still works on it."""
    for conversation in noxus.conversations.values():
        if conversation.runs and any(mark in MARK.findall(text)[-1:] for text in conversation.asked):
            return True
        runs = {
            said.parts[0]["run_id"] for said in conversation.messages if mark in _asked(said) and said.role == "user"
        }
        for said in conversation.messages:
            if said.id in runs and bare(said.text) == whole and _says_so(noxus, conversation, said):
                return True
    return False


def tells_of_files(noxus: NoxusSimulator) -> bool:
    """Whether it tells of an answer's files besides in the stream for who asked: their frames are in no message."""
    switches = noxus.switches
    return switches.files_as not in {"file_frame", "data_frame"} or switches.idle_events == "replay"


def is_refused(request: Request) -> bool:
    """Whether it said that it does not take the message, so that it may come once more."""
    frames = request.frames
    return 400 <= request.status < 500 or ("error" in frames and "text-start" not in frames)


def _asked(said: SimMessage) -> list[str]:
    return MARK.findall(said.text)[-1:]


def _says_so(noxus: NoxusSimulator, conversation: SimConversation, said: SimMessage) -> bool:
    """Whether anything tells that the answer was not cut off there."""
    switches, last = noxus.switches, conversation.last_run
    reasons = [part["finish_reason"] for part in said.parts if part["kind"] == "response"]
    if switches.history == "both" and reasons[-1:] == ["stop"]:
        return True
    if switches.idle_events == "replay" and last is not None and last.id == said.id and last.ended == "done":
        return True
    followed = [
        request for request in noxus.requests if request.endpoint == "events" and conversation.id in request.path
    ]
    return any(request.frames.get("finish") for request in followed)
