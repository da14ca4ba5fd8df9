"""The script language: what the user wrote -> the steps of the agent's answer. Pure; ids and time come from outside.

A command anywhere in the message chooses the answer, the first one wins; ``prose.HELP`` lists them. Any other text gets
a short friendly reply.
"""

from __future__ import annotations

import base64
import json
import math
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from slackbot.simulator.noxus import making, prose, recorded

MAX_WORDS = 100_000
MAX_LONG = 1_000_000
MAX_WAIT = 3600.0
HUMAN_WAYS = ("deferred", "plain", "approval", "waiting", "manual", "wording")

_LONG_RATE = 250.0
_COMMAND = re.compile(
    r"(?<!\S)/(say|words|long|tool|think|steps|fail|cut|hang|timeout|human|silent|approve|wait|frames|file|sum|help)"
    r"(?!\w)[ ]?",
)
_HELP = re.compile(r"\W*(?:[^\n:]{1,80}:\s*)?help\W*", re.IGNORECASE)
_SIZE = re.compile(r"size=(\d{1,9})")
_RATE = re.compile(r"rate=(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Emit:
    """One frame, ``after`` seconds after the step before."""

    frame: dict[str, Any]
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection that started the run dies; the run goes on."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The stream says ``timeout`` and ends."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more comes, until the agent's own timeout."""

    after: float = math.inf


@dataclass(frozen=True, slots=True)
class AskHuman:
    """From now on a human has the conversation."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class MakeFile:
    """A file of the agent's appears under ``id``."""

    id: str
    name: str
    media_type: str
    content: bytes
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Recall:
    """The run's messages are these recorded ones, rather than what its frames say."""

    messages: tuple[dict[str, Any], ...]
    after: float = 0.0


Step: TypeAlias = Emit | Cut | GiveUp | Hang | AskHuman | MakeFile | Recall


@dataclass(frozen=True, slots=True)
class Turn:
    """All an answer depends on. ``earlier`` holds the user's messages before this one, ``files`` the attached names,
    ``sums`` a line about each of them.

    ``rate`` is in tokens a second, ``first_token_delay`` in seconds; ``new_id`` makes a fresh id at every call.
    ``human_words`` are what the tool that asks for a human returns, and what the agent says then.
    """

    content: str
    new_id: Callable[[], str]
    earlier: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    rate: float = 32.0
    first_token_delay: float = 0.4
    sdk_version: Literal[5, 6] = 5
    files_as: str = "tool_output"
    human_as: str = "deferred"
    human_words: tuple[str, str] = ("Escalated to human operator", "You are now talking to the co-worker.")
    base_url: str = ""


def answer(turn: Turn) -> Iterator[Step]:
    """The steps of the answer, lazily: a long one costs no more memory than what was said of it."""
    command = _COMMAND.search(turn.content)
    if command is None:
        name, rest = ("help" if _HELP.fullmatch(turn.content.strip()) else "reply"), ""
    else:
        name, rest = command[1], turn.content[command.end() :]
    if name == "frames":
        return _recorded(turn, _word(rest, "text"))
    return _framed(_COMMANDS[name](turn, rest), turn)


def silence() -> Iterator[Step]:
    """The answer of an agent that says nothing."""
    return _framed((), Turn("", str))


def _framed(body: Iterable[Step], turn: Turn) -> Iterator[Step]:
    """``body`` between ``start`` and ``finish``; the first word waits for the first token's delay."""
    yield Emit({"type": "start"})
    yield Emit({"type": "start-step"})
    delay, reason = turn.first_token_delay, ""
    for step in body:
        if isinstance(step, Emit) and delay:
            yield Emit(step.frame, step.after + delay)
            delay = 0.0
        else:
            yield step
        if isinstance(step, Emit) and step.frame["type"] == "error":
            reason = "error"
    yield Emit({"type": "finish-step"})
    yield Emit({"type": "finish", "finishReason": reason} if reason else {"type": "finish"})


def _block(turn: Turn, pieces: Iterable[str], *, kind: str = "text", rate: float | None = None) -> Iterator[Step]:
    block, gap = turn.new_id(), 1 / (rate or turn.rate)
    yield Emit({"type": f"{kind}-start", "id": block})
    for index, piece in enumerate(pieces):
        yield Emit({"type": f"{kind}-delta", "id": block, "delta": piece}, gap if index else 0.0)
    yield Emit({"type": f"{kind}-end", "id": block})


def _call(
    turn: Turn,
    name: str,
    arguments: dict[str, Any],
    output: object = None,
    seconds: float | None = None,
    *,
    approval: bool = False,
) -> Iterator[Step]:
    """A tool call with its output after a while; without one it stays open, with ``approval`` until somebody's yes."""
    call, took = turn.new_id(), 20 / turn.rate if seconds is None else seconds
    yield Emit({"type": "tool-input-start", "toolCallId": call, "toolName": name})
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    yield Emit({"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": text})
    yield Emit({"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": arguments})
    if output is not None:
        yield Emit({"type": "tool-output-available", "toolCallId": call, "output": output}, took)
    elif approval and turn.sdk_version == 6:
        yield Emit({"type": "tool-approval-request", "approvalId": turn.new_id(), "toolCallId": call})


def _next_step() -> Iterator[Step]:
    yield Emit({"type": "finish-step"})
    yield Emit({"type": "start-step"})


def _reply(turn: Turn, _rest: str) -> Iterator[Step]:
    return _block(turn, prose.tokens(prose.reply(turn.content, turn.earlier, turn.files)))


def _help(turn: Turn, _rest: str) -> Iterator[Step]:
    return _block(turn, prose.tokens(prose.HELP), rate=_LONG_RATE)


def _say(turn: Turn, rest: str) -> Iterator[Step]:
    return _block(turn, prose.word_tokens(rest.replace("\\n", "\n")))


def _words(turn: Turn, rest: str) -> Iterator[Step]:
    count = min(int(_number(rest, 100)), MAX_WORDS)
    return _block(turn, prose.word_tokens(prose.words(count)), rate=_rate(rest, 40.0))


def _long(turn: Turn, rest: str) -> Iterator[Step]:
    length = min(int(_number(rest, 5000)), MAX_LONG)
    return _block(turn, prose.tokens(prose.long(length)), rate=_rate(rest, _LONG_RATE))


def _tool(turn: Turn, rest: str) -> Iterator[Step]:
    name = _word(rest, "web_research")
    yield from _block(turn, prose.tokens("Checking."))
    yield from _call(turn, name, {"query": "an example"}, {"results": [{"title": "An example", "snippet": "sunny"}]})
    yield from _next_step()
    yield from _block(turn, prose.tokens(f"The tool `{name}` says that it is sunny."))


def _think(turn: Turn, _rest: str) -> Iterator[Step]:
    thoughts = "The user wants to see me think. I think, and then I answer."
    yield from _block(turn, prose.tokens(thoughts), kind="reasoning")
    yield from _block(turn, prose.tokens("I thought about it: **yes**."))


def _steps(turn: Turn, rest: str) -> Iterator[Step]:
    """All that can be seen of a longer piece of work; the second tool is one that the agent does not show."""
    silence = min(_number(rest, 12), MAX_WAIT)
    thoughts = "Two places may know. I ask the web first, and then I compare it with the files."
    yield from _block(turn, prose.tokens(thoughts), kind="reasoning")
    yield from _call(turn, "web_research", {"query": "an example"}, {"results": 3}, silence / 6)
    yield from _next_step()
    yield from _block(turn, prose.tokens("The web knows of three examples. I compare them with your files."))
    yield from _call(turn, "filesystem", {"path": "examples"}, {"files": 2}, silence / 6)
    yield from _next_step()
    first, *others = _block(turn, prose.tokens("Two of the three are in your files already; **the third** is new."))
    yield replace(first, after=silence)
    yield from others


def _unfinished(turn: Turn) -> Iterator[Step]:
    """A text block that breaks off, without its end."""
    steps = list(_block(turn, prose.tokens("I was about to tell you something importa")))
    return iter(steps[:-1])


def _fail(turn: Turn, _rest: str) -> Iterator[Step]:
    yield from _unfinished(turn)
    yield Emit({"type": "error", "errorText": "model provider 529 overloaded"})


def _cut(turn: Turn, _rest: str) -> Iterator[Step]:
    *begun, end = _block(turn, prose.tokens("The connection breaks here, but the answer goes on to its end."))
    half = len(begun) // 2
    yield from begun[:half]
    yield Cut()
    yield from begun[half:]
    yield end


def _hang(turn: Turn, _rest: str) -> Iterator[Step]:
    yield from _unfinished(turn)
    yield Hang()


def _timeout(turn: Turn, _rest: str) -> Iterator[Step]:
    *begun, end = _block(turn, prose.tokens("My time runs out here, whatever comes after."))
    half = len(begun) // 2
    yield from begun[:half]
    yield GiveUp()
    yield from begun[half:]
    yield end


def _human(turn: Turn, rest: str) -> Iterator[Step]:
    """The agent asks for a human in one of the ways there may be; a word behind the command chooses it."""
    way = _word(rest, turn.human_as)
    way = way if way in HUMAN_WAYS else turn.human_as
    output, words = turn.human_words
    if way == "wording":
        yield from _block(turn, prose.tokens(words))
        return
    if way != "manual":
        if way != "plain":
            yield from _block(turn, prose.tokens("I will get a colleague. "))
        reason = {"reason": "user asked for a human"}
        returned = output if way == "plain" else None
        yield from _call(turn, "human_in_the_loop", reason, returned, approval=way == "approval")
    yield AskHuman()
    if way == "plain":
        yield from _next_step()
        yield from _block(turn, prose.tokens(words))
    if way == "waiting":
        yield Hang()


def _silent(_turn: Turn, _rest: str) -> Iterator[Step]:
    return iter(())


def _approve(turn: Turn, _rest: str) -> Iterator[Step]:
    return _call(turn, "delete_file", {"path": "a.txt"}, approval=True)


def _wait(turn: Turn, rest: str) -> Iterator[Step]:
    first, *others = _reply(turn, "")
    yield replace(first, after=min(_number(rest, 1), MAX_WAIT))
    yield from others


def _file(turn: Turn, rest: str) -> Iterator[Step]:
    names = [word for word in rest.split() if "." in word] or [_word(rest, "report.csv")]
    found = _SIZE.search(rest)
    size = min(int(found[1]), making.MAX_SIZE) if found else None
    links = []
    for name in names:
        media_type = mimetypes.guess_type(name)[0] or "text/plain"
        made = MakeFile(turn.new_id(), name, media_type, making.content(name, size))
        links.append(f"[{name}]({turn.base_url}/v1/file/{made.id})")
        yield from _made(turn, made)
    yield from _next_step()
    shown = f": {', '.join(links)}" if turn.files_as == "link" else "."
    yield from _block(turn, prose.tokens(f"Here {'is your file' if len(names) == 1 else 'are your files'}{shown}"))


def _made(turn: Turn, made: MakeFile) -> Iterator[Step]:
    """A file comes into being and is shown in one of the ways there may be."""
    yield made
    yield from _call(turn, "create_file", {"name": made.name}, {"created": True})
    told = {"file_id": made.id, "name": made.name, "content_type": made.media_type}
    output = told if turn.files_as == "tool_output" else {"ok": True}
    yield from _call(turn, "present_file", {"name": made.name}, output)
    if turn.files_as == "file_frame":
        url = f"{turn.base_url}/v1/file/{made.id}"
        yield Emit({"type": "file", "url": url, "mediaType": made.media_type})
    elif turn.files_as == "data_uri":
        data = f"data:{made.media_type};base64,{base64.b64encode(made.content).decode()}"
        yield Emit({"type": "file", "url": data, "mediaType": made.media_type})
    elif turn.files_as == "data_frame":
        yield Emit({"type": "data-file", "id": made.id, "data": {"id": made.id, "name": made.name}})


def _sum(turn: Turn, _rest: str) -> Iterator[Step]:
    lines = [f"- {line}" for line in turn.sums] or ["No file came with that."]
    return _block(turn, prose.tokens("\n".join(lines)))


def _recorded(turn: Turn, name: str) -> Iterator[Step]:
    """A recorded run under fresh ids, at the usual pace; an unknown name gets the list of those there are."""
    try:
        frames = recorded.frames(name)
    except KeyError:
        known = ", ".join(f"`{known}`" for known in recorded.names())
        yield from _framed(_block(turn, prose.tokens(f"I have no recording `{name}`. There are: {known}.")), turn)
        return
    fresh = {
        old: turn.new_id()
        for frame in frames
        if frame["type"] in {"text-start", "reasoning-start", "tool-input-start"}
        for old in [frame.get("id") or frame["toolCallId"]]
    }
    for index, frame in enumerate(frames):  # 0 and 1 are start and start-step
        gap = turn.first_token_delay if index == 2 else 1 / turn.rate
        yield Emit(recorded.renew(frame, fresh), gap if index > 1 else 0.0)
    messages = recorded.messages(name)
    if messages is not None:
        yield Recall(tuple(recorded.renew(messages, fresh)))


def _number(rest: str, default: float) -> float:
    found = re.match(r"\s*(\d{1,9}(?:\.\d{1,9})?)", rest)
    return float(found[1]) if found else default


def _rate(rest: str, default: float) -> float:
    found = _RATE.search(rest)
    return max(float(found[1]), 0.1) if found else default


def _word(rest: str, default: str) -> str:
    words = rest.split(maxsplit=1)
    return words[0] if words else default


_COMMANDS: dict[str, Callable[[Turn, str], Iterator[Step]]] = {
    "reply": _reply,
    "help": _help,
    "say": _say,
    "words": _words,
    "long": _long,
    "tool": _tool,
    "think": _think,
    "steps": _steps,
    "fail": _fail,
    "cut": _cut,
    "hang": _hang,
    "timeout": _timeout,
    "human": _human,
    "silent": _silent,
    "approve": _approve,
    "wait": _wait,
    "file": _file,
    "sum": _sum,
}
