"""The page's Markdown has the structure that a CommonMark parser finds."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from playwright.async_api import Browser, Page, Route

import slackbot.simulator

PAGE = Path(slackbot.simulator.__file__).parent / "slack" / "page"
ORIGIN = "http://page.test/"
pytestmark = pytest.mark.asyncio(loop_scope="session")
TASK = {"[ ] ": False, "[x] ": True, "[X] ": True}
NAMES = {"strong": "strong", "em": "em", "s": "s", "blockquote": "blockquote", "bullet_list": "ul"}

CORPUS = {
    "headings": (
        "# One\n## Two ##\n### *Three*\n#### Four\n##### Five\n###### Six\n####### no\n\nSetext\n===\n\n"
        "Two\nlines\n---\n"
    ),
    "emphasis": (
        "*a* _b_ **c** __d__ ***e*** **f *g* h** *i **j** k* snake_case_name 2*3*4 **un*closed ~~gone~~ **bold**word"
    ),
    "emphasis, hard": (
        '*foo**bar**baz* **"quoted"**text *(**x**)* foo*bar* __a__b ** not ** *a `*` b* \\*no\\* _a __b_ c__ ****x****'
    ),
    "lists": (
        "- one\n- two\n  - three\n    - four\n\n      more of four\n- five\n\n1. a\n2. b\n   1. c\n"
        "   2. d\n\n7) seven\n8) eight\n"
    ),
    "lists, loose and tight": "- a\n\n- b\n- c\n\n\n* d\n+ e\n\n- f\n\n  g\n- h\n",
    "lists, odd": (
        "-\n- a\n-\n\n  b\n\n10. ten\n    11. x\n- ```\n  code\n  ```\n- > quote\n  > more\nlazy\n"
        "-    indented\n\n 1. a\n  2. b\n   3. c\n"
    ),
    "tasks": "- [ ] to do\n- [x] done\n- [X] also **done**\n- [] no\n- [ ]no\n1. [x] numbered\n   - [ ] nested\n",
    "code": (
        "Run `pip install x` or ``a ` b``:\n\n```python\nprint('*no*')\n\n\tindented = '<b>'\n```\n\n~~~\n"
        "tilde ``` inside\n~~~\n\n    indented\n\n    more\n"
    ),
    "code, open": "text\n```js\nconst a = 1;\n\n- no list",
    "code, long fence": "````md\n```\ninner\n```\n````\n  ```\n  two off\n ```\nafter",
    "quotes": "> a\n> b\nlazy\n\n> - list\n>   more\n> > deeper\n>\n> end\n\n>no space\n> ```\n> code\n> ```\n",
    "rules": "a\n\n---\n\n***\n_ _ _\n- - -\n",
    "tables": (
        "| a | b |\n|:--|--:|\n| *1* | `x|y` |\n| 2 \\| 3 |\n| a | b | c |\n\nno | outer\n:-: | ---\n"
        "1 | 2\n> quote ends it\n"
    ),
    "tables, not": "| a | b |\n|---|\n| c |\n\na | b\n\n|---|---|\n",
    "tables after text": "intro\n| a |\n|---|\n| b |\nlast\n",
    "links": (
        '[a](https://a.test) [b](<https://b.test/x y> "title") [c *d*](/rel "t") '
        "[e](https://e.test/(f)) <https://g.test> <h@i.test> [](https://j.test)"
    ),
    "links by reference": (
        "[a] [b][a] [c][] [none] [A][]\n\n[a]: https://a.test 'T'\n[c]:\n  <https://c.test>\n[a]: https://second.test\n"
    ),
    "links, broken": (
        "[a](https://a.test [b]( [c]() [d] (https://d.test) [e](f g) [`]`](https://h.test) "
        "[[i](https://i.test)](https://j.test)"
    ),
    "images": (
        '![alt *text*](https://a.test/i.png "t") [![badge](https://a.test/b.png)](https://b.test) '
        "![](https://c.test/c.png)"
    ),
    "html": (
        "<b>bold</b> <script>alert(1)</script>\n\n<div>\n*em*\n</div>\n\n<!-- comment -->\n\n"
        "a <br> b &lt;i&gt; &amp; &copy; &#35; &nope; &#0;"
    ),
    "breaks": "one  \ntwo\\\nthree\nfour   \n\nfive",
    "escapes": "\\# no heading\n\n\\- no list\n\n1\\. no\n\n\\[no](link) \\`no\\` \\\\ \\a",
    "languages": "مرحبا **بالعالم** 🎉 *emoji🎉* 你好**世界**。",
    "tabs": "-\tone\n\n\ttwo\n\n>\t\tcode\n\n\tcode\twith tab\n1.\t\tx\n",
    "whitespace": "\n\n   para\n    cont\n\n\n  \n end \n",
    "unfinished": "**bold that never",
    "unfinished link": "see [the docs](https://exa",
}

SIGNS = [
    "*", "**", "_", "__", "~~", "`", "``", "[", "]", "](https://a.test)", "!", "<", ">", "&amp;", "\\", "a",
    "b c", " ", "  ", "\n", "\n\n", "\n- ", "\n  - ", "\n1. ", "\n> ", "\n```\n", "\n# ", "\n---\n",
    "\n===\n", "\n    ", "\n| a | b |\n|---|---|\n", ".", ")", '"', "é", "\t", "\n\n[a]: https://r.test\n\n",
    "[a]", "- [x] ",
]  # fmt: skip

# Where markdown-it leaves CommonMark: a blank item before a list, an indented `>`, a backslash before blanks.
QUIRKS = re.compile(r"^[ >]*[-*+1.]+[ \t]*\n\s*\n|^\s{2,}>|\\[ \t]+\n", re.MULTILINE)

STRUCTURE = """
async ({module, texts}) => {
  const {renderMarkdown} = await import(module);
  const directory = {me: "", users: new Map(), channels: new Map()};
  const names = {P: "p", EM: "em", STRONG: "strong", S: "s", BLOCKQUOTE: "blockquote", UL: "ul", HR: "hr", BR: "br"};
  const list = (nodes) => {
    const out = [];
    for (const node of nodes) {
      const made = shape(node);
      if (typeof made === "string" && typeof out.at(-1) === "string") out[out.length - 1] += made;
      else if (made !== null && made !== "") out.push(made);
    }
    return out;
  };
  const shape = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.nodeValue;
    const inner = () => list(node.childNodes);
    switch (node.tagName) {
      case "H4": return ["h", Number(node.dataset.level), ...inner()];
      case "OL": return ["ol", Number(node.getAttribute("start") ?? 1), ...inner()];
      case "LI": return ["li", node.querySelector(":scope > input")?.checked ?? null, ...inner()];
      case "INPUT": return null;
      case "A": return ["a", node.getAttribute("href") ?? node.title, ...inner()];
      case "CODE": return ["code", node.textContent];
      case "DIV":
        if (node.className === "code") {
          return ["pre", node.dataset.language ?? "", node.querySelector("code").textContent];
        }
        return ["table", ...[...node.querySelectorAll("tr")].map((row) =>
          [...row.children].map((cell) => [cell.dataset.align ?? "", ...list(cell.childNodes)]))];
      default: return [names[node.tagName] ?? node.tagName, ...inner()];
    }
  };
  return texts.map((text) => list(renderMarkdown(text, directory)));
}
"""


def structure(text: str) -> list[Any]:
    """What markdown-it finds in ``text``, in the form that STRUCTURE gives to the page's nodes."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return joined(piece for node in SyntaxTreeNode(parser.parse(text)).children for piece in shape(node))


def joined(pieces: Iterator[Any]) -> list[Any]:
    """Pieces with neighbouring texts made one, and empty ones left out."""
    out: list[Any] = []
    for piece in pieces:
        if isinstance(piece, str) and out and isinstance(out[-1], str):
            out[-1] += piece
        elif piece != "":
            out.append(piece)
    return out


def shape(node: SyntaxTreeNode, *, in_link: bool = False) -> list[Any]:  # noqa: C901, PLR0912  one case per kind
    """The pieces that one node stands for: one, or several where it is transparent."""
    inside = joined(piece for child in node.children for piece in shape(child, in_link=in_link or node.type == "link"))
    match node.type:
        case "text" | "text_special":
            return [node.content]
        case "softbreak":
            return ["\n"]
        case "hardbreak":
            return [["br"]]
        case "hr":
            return [["hr"]]
        case "inline":
            return inside
        case "paragraph":
            return inside if node.hidden else [["p", *inside]]
        case "heading":
            return [["h", int(node.tag[1]), *inside]]
        case "code_inline":
            return [["code", node.content]]
        case "fence" | "code_block":
            return [["pre", (node.info.split() or [""])[0], node.content]]
        case "ordered_list":
            return [["ol", int(node.attrs.get("start", 1)), *inside]]
        case "list_item":
            return [list_item(inside)]
        case "link":
            return [["a", str(node.attrs["href"]), *inside]]
        case "image":
            alt = "".join(text_of(node.children))
            return [alt if in_link else ["a", str(node.attrs["src"]), alt or str(node.attrs["src"])]]
        case "table":
            rows = [row for part in node.children for row in part.children]
            return [["table", *([cell(column) for column in row.children] for row in rows)]]
        case _:
            return [[NAMES[node.type], *inside]] if node.type in NAMES else inside


def text_of(nodes: Sequence[SyntaxTreeNode]) -> Iterator[str]:
    """The texts below nodes."""
    for node in nodes:
        yield " " if node.type in {"softbreak", "hardbreak"} else node.content if not node.children else ""
        yield from text_of(node.children)


def cell(node: SyntaxTreeNode) -> list[Any]:
    """One table cell: alignment, then what is in it."""
    align = str(node.attrs.get("style", "")).removeprefix("text-align:")
    return [align, *joined(piece for child in node.children for piece in shape(child))]


def list_item(inside: list[Any]) -> list[Any]:
    """A list item; markdown-it leaves a task's box in the text."""
    first = inside[0] if inside else ""
    holder = first if isinstance(first, list) and first[0] == "p" else inside
    at = 1 if holder is first else 0
    text = holder[at] if len(holder) > at else None
    if isinstance(text, str) and text[:4] in TASK:
        rest = text[4:].lstrip(" \t")
        if rest[:1] not in {"", "\n"} or (not rest and len(holder) > at + 1):
            holder[at : at + 1] = [rest] if rest else []
            return ["li", TASK[text[:4]], *inside]
    return ["li", None, *inside]


def comparable(pieces: Any) -> Any:
    """The same without what the two may write differently.

    That is percent-encoding in link targets, blanks inside inline code (markdown-it keeps the indentation of a
    paragraph's next line there), blank lines at the end of code that is still open, and whether a bare web address
    is a link (in Slack it is).
    """
    match pieces:
        case ["a", str(href), str(text)] if unquote(href) == text:
            return text
        case ["a", str(href), *inside]:
            return ["a", unquote(href), *joined(comparable(piece) for piece in inside)]
        case ["code", str(text)]:
            return ["code", " ".join(text.split())]
        case ["pre", str(language), str(text)]:
            return ["pre", language, text.rstrip()]
        case [str(tag), *inside]:
            return [tag, *joined(comparable(piece) for piece in inside)]
        case list():
            return joined(comparable(piece) for piece in pieces)
        case _:
            return pieces


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A blank page that may import the page's modules."""

    async def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ORIGIN)
        if name:
            await route.fulfill(path=PAGE / name, content_type="text/javascript; charset=utf-8")
        else:
            await route.fulfill(body="<!doctype html><title>empty</title>", content_type="text/html")

    async with await browser.new_page() as page:
        await page.route(f"{ORIGIN}**", serve)
        await page.goto(ORIGIN)
        yield page


async def rendered(page: Page, texts: list[str]) -> list[Any]:
    """The structure of the nodes that the page makes of texts."""
    made: list[Any] = await page.evaluate(STRUCTURE, {"module": f"{ORIGIN}markdown.js", "texts": texts})
    return made


async def test_structure_matches_commonmark(page: Page) -> None:
    """Each text of the corpus, whole and as it grows, has the structure that the parser gives it."""
    texts = [text[:end] for text in CORPUS.values() for end in {len(text), *range(5, len(text), 7)}]
    for text, shown in zip(texts, await rendered(page, texts), strict=True):
        assert comparable(shown) == comparable(structure(text)), text


@pytest.mark.parametrize("seed", range(4))
async def test_structure_matches_commonmark_for_random_texts(page: Page, seed: int) -> None:
    """Texts thrown together from Markdown's own signs have the structure that the parser gives them."""
    chance = random.Random(seed)
    texts = ["".join(chance.choices(SIGNS, k=chance.randint(2, 30))) for _ in range(400)]
    texts = [text for text in texts if not QUIRKS.search(text)]
    for text, shown in zip(texts, await rendered(page, texts), strict=True):
        assert comparable(shown) == comparable(structure(text)), text


async def test_bare_links_and_entities(page: Page) -> None:
    """A web address is a link without its closing punctuation; Slack's entities are names, never HTML."""
    text = "See https://a.test/x_(y), (https://b.test/z). `https://no.test` <@U1> <!here> <img src=x onerror=alert(1)>"
    [shown] = await rendered(page, [text])
    assert shown == [
        [
            "p",
            "See ",
            ["a", "https://a.test/x_(y)", "https://a.test/x_(y)"],
            ", (",
            ["a", "https://b.test/z", "https://b.test/z"],
            "). ",
            ["code", "https://no.test"],
            " ",
            ["SPAN", "@U1"],
            " ",
            ["SPAN", "@here"],
            " <img src=x onerror=alert(1)>",
        ]
    ]


async def test_links_that_run_code_lead_nowhere(page: Page) -> None:
    """Only web and mail targets can be followed; each opens outside the page."""
    hrefs = await page.evaluate(
        """async (module) => {
          const {renderMarkdown} = await import(module);
          const text = "[a](javascript:alert(1)) [b](data:text/html,x) [c](vbscript:x) " +
            "[d](https://d.test) [e](mailto:e@e.test)";
          const [p] = renderMarkdown(text, {me: "", users: new Map(), channels: new Map()});
          return [...p.querySelectorAll("a")].map((a) => [a.getAttribute("href"), a.target, a.rel]);
        }""",
        f"{ORIGIN}markdown.js",
    )
    away = ["_blank", "noopener noreferrer"]
    assert hrefs == [[None, "", ""]] * 3 + [["https://d.test", *away], ["mailto:e@e.test", *away]]


async def test_long_texts_are_rendered_quickly(page: Page) -> None:
    """The longest message Slack takes, and hostile ones, are rendered in well under half a second."""
    texts = [
        "## Part\n\nSome **bold** text with `code` and [a link](https://a.test).\n\n- one\n- two\n\n" * 100,
        "*a _b " * 1500,
        "[" * 9000,
        "> " * 4000,
    ]
    spent = await page.evaluate(
        """async ({module, texts}) => {
          const {renderMarkdown} = await import(module);
          const directory = {me: "", users: new Map(), channels: new Map()};
          return texts.map((text) => {
            const start = performance.now();
            renderMarkdown(text, directory);
            return performance.now() - start;
          });
        }""",
        {"module": f"{ORIGIN}markdown.js", "texts": [text[:9000] for text in texts]},
    )
    assert max(spent) < 500, spent
