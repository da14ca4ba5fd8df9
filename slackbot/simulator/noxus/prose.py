"""What the simulated agent says in its own words."""

from __future__ import annotations

import re
import zlib
from itertools import cycle, islice

HELP = """\
I am a simulated agent. Write anything and I answer; or write one of these, anywhere in your message:

| command | what I do |
| --- | --- |
| `/say TEXT` | answer exactly TEXT (`\\n` is a new line) |
| `/words N rate=R` | say N words in one paragraph, R a second |
| `/long N rate=R` | say about N characters of mixed Markdown |
| `/tool NAME` | use the tool NAME between two pieces of text |
| `/think` | think aloud, then answer |
| `/steps S` | think, use two tools, keep silent for S seconds, then answer |
| `/wait S` | keep silent for S seconds, then answer |
| `/file NAME size=N` | make a file, or one for each NAME |
| `/sum` | say which files I got |
| `/human HOW` | ask for a human: `deferred`, `plain`, `approval`, `waiting`, `manual` or `wording` |
| `/approve` | call a tool that waits for approval |
| `/silent` | finish without a word |
| `/fail` | fail in the middle |
| `/cut` | lose the connection in the middle |
| `/hang` | fall silent in the middle |
| `/timeout` | run out of time in the middle |
| `/frames NAME` | play a recorded run, such as `tool_call` |
"""

_LEXICON = (
    "the", "river", "carries", "small", "boats", "past", "quiet", "houses", "while", "evening", "light",
    "settles", "on", "water", "and", "people", "walk", "home", "along", "narrow", "paths", "talking", "about",
    "work", "music", "weather", "and", "what", "they", "will", "cook", "when", "they", "arrive",
)  # fmt: skip

_OPENINGS = ("Good question!", "Happy to help.", "Let me see.", "Thanks for asking.", "With pleasure.")

_BODIES = (
    """\
I am a simulated agent, so I know nothing of the world, but I answer as a real one does: **word by word**, \
while you watch.""",
    """\
Here is how I would go about it:

1. read the question twice,
2. look up what is *not* clear,
3. answer in as few words as possible.""",
    """\
A few lines of code say it best:

```python
def answer(question: str) -> str:
    words = question.split()
    return f"You used {len(words)} words."
```

Run it with a question of your own.""",
    """\
Compare the two ways:

| way | effort | result |
| --- | --- | --- |
| guess | none | often wrong |
| measure | some | a number you can trust |

I would *measure*.""",
    """\
Three things are worth knowing:

- Threads keep their own memory: what you tell me here stays here.
- You can write your next message while I still answer; it waits for its turn.
- A [link](https://example.com/guide) works too.""",
)


def reply(question: str, earlier: tuple[str, ...], files: tuple[str, ...] = ()) -> str:
    """A short friendly answer that quotes the question, counts the messages and remembers the earlier ones."""
    # The conversation's first question chooses where to begin, so that answers differ from one to the next.
    first = earlier[0] if earlier else question
    choice = zlib.crc32(first.encode(errors="replace")) + len(earlier)
    paragraphs = [f"{_OPENINGS[choice % len(_OPENINGS)]} You wrote:", f"> {shorten(question) or '(nothing)'}"]
    before = question.strip().rpartition("\n\n")[0].splitlines()
    if before and before[0].endswith(":"):
        told = "\n>\n".join(f"> {shorten(line)}" for line in before[-4:] if line != before[0])
        paragraphs.append(f"Before that I was told:\n\n{told}")
    paragraphs.append(f"That is message {len(earlier) + 1} of this conversation.")
    if earlier:
        asked = "; ".join(f"*{shorten(text, 60) or '(nothing)'}*" for text in earlier[-3:])
        paragraphs.append(f"Earlier you asked: {asked}.")
    if files:
        paragraphs.append(f"You attached {', '.join(f'`{name}`' for name in files)}.")
    paragraphs.append(_BODIES[choice % len(_BODIES)])
    if not earlier:
        paragraphs.append("Write `help` to see what else I can do.")
    return "\n\n".join(paragraphs)


def shorten(text: str, limit: int = 160) -> str:
    """The last paragraph of ``text`` on one line, at most ``limit`` characters."""
    line = " ".join(re.split(r"\n\s*\n", text.strip())[-1].split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def words(count: int) -> str:
    """A single paragraph of exactly ``count`` words."""
    return " ".join(islice(cycle(_LEXICON), count)).capitalize() + "." * (count > 0)


def long(length: int) -> str:
    """About ``length`` characters of Markdown, whole blocks of every kind under numbered headings."""
    pieces: list[str] = []
    written, section = 0, 0
    while written < length:
        section += 1
        start = 11 * section % len(_LEXICON)
        prose = " ".join(islice(cycle(_LEXICON), start, start + 60)).capitalize()
        block = f"## Section {section}\n\n{prose}.\n\n{_BODIES[section % len(_BODIES)]}"
        pieces.append(block)
        written += len(block) + 2
    return "\n\n".join(pieces)


def tokens(text: str) -> list[str]:
    """``text`` in pieces of the size a model streams; joined they are the text."""
    return re.findall(r"\s*\S{1,6}|\s+", text)


def word_tokens(text: str) -> list[str]:
    """``text`` word by word, each with the space before it; joined they are the text."""
    return re.findall(r"\s*\S+|\s+", text)
