/**
 * Markdown text to a tree of blocks: CommonMark 0.31 (https://spec.commonmark.org/0.31.2/#appendix-a-parsing-strategy)
 * with GitHub's tables. HTML is no block of its own: it is text. Inline text stays raw in `text`.
 */

import { takeReference } from "./markdown-inline.js";

const CODE_INDENT = 4;
const TAB = 4;
const DEEPEST = 60; // of quotes and lists; what goes deeper is text
const LEAVES = new Set(["paragraph", "heading", "code", "rule", "table"]);

/** The tree of `text`: {blocks, references}. */
export function parseBlocks(text) {
  const parser = new BlockParser();
  const lines = text.replaceAll("\0", "\uFFFD").split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  lines.forEach((line) => parser.take(line));
  return parser.finish();
}

class BlockParser {
  constructor() {
    this.references = new Map();
    this.number = 0;
    this.document = { type: "document", children: [], open: true, first: 1 };
    this.tip = this.document;
  }

  take(line) {
    this.line = line;
    this.number += 1;
    this.offset = 0;
    this.column = 0;
    this.inTab = false;
    const before = this.tip;
    let block = this.document;
    for (let next = block.children.at(-1); next?.open; next = next.children.at(-1)) {
      this.look();
      const outcome = CONTINUE[next.type](this, next);
      if (outcome === "consumed") return;
      if (outcome === "no") break;
      block = next;
      if (LEAVES.has(next.type)) break;
    }
    this.matched = block;
    this.unmatched = before === block ? null : before;
    block = this.openNew(block);
    if (this.unmatched && !this.blank && this.tip.type === "paragraph") {
      this.addLine();
      return;
    }
    this.closeUnmatched();
    if (LEAVES.has(block.type)) {
      if (block.lines && block.opener !== this.number && block.open) this.addLine();
    } else if (!this.blank) {
      this.add("paragraph", { lines: [] });
      this.skipIndent();
      this.addLine();
    }
  }

  finish() {
    while (this.tip) this.close(this.tip, this.number);
    return { blocks: this.document.children, references: this.references };
  }

  /** Open what starts on this line; returns the innermost block. */
  openNew(block) {
    while (!LEAVES.has(block.type) || block.type === "paragraph" || block.type === "table") {
      this.look();
      if (depth(block) > DEEPEST || !STARTS.some((start) => start(this, block))) {
        this.deep = this.indented;
        if (!LEAVES.has(block.type) || block.type === "paragraph") this.skipIndent();
        break;
      }
      block = this.tip;
      if (LEAVES.has(block.type)) break;
    }
    this.look();
    return block;
  }

  /** Find the next character that is no blank: sets indent, blank, rest. */
  look() {
    let column = this.column;
    let at = this.offset;
    for (; this.line[at] === " " || this.line[at] === "\t"; at += 1) {
      column += this.line[at] === "\t" ? TAB - (column % TAB) : 1;
    }
    this.next = at;
    this.nextColumn = column;
    this.blank = at >= this.line.length;
    this.indent = column - this.column;
    this.indented = this.indent >= CODE_INDENT;
    this.rest = this.line.slice(at);
  }

  skipIndent() {
    this.offset = this.next;
    this.column = this.nextColumn;
    this.inTab = false;
  }

  /** Move on by columns; a tab may be used up in part. */
  skip(columns) {
    while (columns > 0 && this.offset < this.line.length) {
      const width = this.line[this.offset] === "\t" ? TAB - (this.column % TAB) : 1;
      const step = Math.min(columns, width);
      this.inTab = width > step;
      this.column += step;
      this.offset += this.inTab ? 0 : 1;
      columns -= step;
    }
  }

  atSpace() {
    return this.line[this.offset] === " " || this.line[this.offset] === "\t";
  }

  add(type, values = {}) {
    this.closeUnmatched();
    while (LEAVES.has(this.tip.type) || (this.tip.type === "list" && type !== "item")) {
      this.close(this.tip, this.number - 1);
    }
    const block = { type, parent: this.tip, children: [], open: true, first: this.number, ...values };
    this.tip.children.push(block);
    this.tip = block;
    return block;
  }

  addLine() {
    const tab = this.inTab ? " ".repeat(TAB - (this.column % TAB)) : "";
    this.tip.indented = this.deep;
    this.tip.lines.push(tab + this.line.slice(this.offset + (this.inTab ? 1 : 0)));
  }

  closeUnmatched() {
    if (!this.unmatched) return;
    this.unmatched = null;
    while (this.tip !== this.matched) this.close(this.tip, this.number - 1);
  }

  close(block, number) {
    block.open = false;
    block.last = number;
    FINISH[block.type]?.(this, block);
    this.tip = block.parent;
  }
}

const CONTINUE = {
  paragraph: (parser) => (parser.blank ? "no" : "yes"),
  table: (parser) => (parser.blank || parser.indented ? "no" : "yes"),
  heading: () => "no",
  rule: () => "no",
  list: () => "yes",
  quote(parser) {
    if (parser.indented || parser.rest[0] !== ">") return "no";
    enterQuote(parser);
    return "yes";
  },
  item(parser, item) {
    if (parser.blank) {
      if (!item.children.length) return "no";
      parser.skipIndent();
      return "yes";
    }
    if (parser.indent < item.width) return "no";
    parser.skip(item.width);
    return "yes";
  },
  code(parser, code) {
    if (!code.fence) {
      if (parser.indented) parser.skip(CODE_INDENT);
      else if (parser.blank) parser.skipIndent();
      else return "no";
      return "yes";
    }
    const end = !parser.indented && /^(`{3,}|~{3,})[ \t]*$/.exec(parser.rest);
    if (end && end[1][0] === code.fence[0] && end[1].length >= code.fence.length) {
      while (parser.tip !== code) parser.close(parser.tip, parser.number - 1);
      parser.close(code, parser.number);
      return "consumed";
    }
    parser.skip(Math.min(code.offset, parser.indent));
    return "yes";
  },
};

const FINISH = {
  paragraph(parser, block) {
    readReferences(parser, block);
    block.text = block.lines.join("\n").trim();
    if (!block.text) block.parent.children.splice(block.parent.children.indexOf(block), 1);
  },
  code(parser, block) {
    if (!block.fence) {
      while (/^[ \t]*$/.test(block.lines.at(-1) ?? "x")) block.lines.pop();
      block.last = block.first + block.lines.length - 1;
    }
    block.text = block.lines.join("\n");
  },
  item(parser, item) {
    item.last = item.children.at(-1)?.last ?? item.first;
    const task = item.children[0]?.type === "paragraph" && /^\[([ xX])\][ \t]+(?=\S)/.exec(item.children[0].text);
    if (task) {
      item.checked = task[1] !== " ";
      item.children[0].text = item.children[0].text.slice(task[0].length);
    }
  },
  list(parser, list) {
    list.last = list.children.at(-1).last;
    const gap = (blocks) => blocks.some((block, index) => index && blocks[index - 1].last !== block.first - 1);
    list.tight = !gap(list.children) && !list.children.some((item) => gap(item.children));
  },
  table(parser, table) {
    table.rows = table.lines.map((line) => table.align.map((_, column) => splitRow(line)[column] ?? ""));
  },
};

/** What may open a block, in order; each returns whether it did. */
const STARTS = [
  function quote(parser) {
    if (parser.indented || parser.rest[0] !== ">") return false;
    enterQuote(parser);
    parser.add("quote");
    return true;
  },
  function heading(parser) {
    const found = !parser.indented && /^(#{1,6})(?:[ \t]+|$)/.exec(parser.rest);
    if (!found) return false;
    const text = parser.rest.slice(found[0].length).replace(/(?:^|[ \t]+)#+[ \t]*$/, "").trim();
    parser.add("heading", { level: found[1].length, text });
    return true;
  },
  function fence(parser) {
    const found = !parser.indented && /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/.exec(parser.rest);
    if (!found) return false;
    const values = { fence: found[1] ?? found[3], info: (found[2] ?? found[4]).trim(), offset: parser.indent };
    parser.add("code", { ...values, lines: [], opener: parser.number });
    return true;
  },
  function table(parser, block) {
    if (parser.indented || block.type !== "paragraph" || block.indented) return false;
    const align = readAlignment(parser.rest);
    const head = block.lines.at(-1);
    if (!align || !head.includes("|") || splitRow(head).length !== align.length) return false;
    parser.closeUnmatched();
    block.lines.pop();
    parser.close(block, parser.number - 2);
    parser.add("table", { align, head: splitRow(head), lines: [], opener: parser.number, first: parser.number - 1 });
    return true;
  },
  function underlined(parser, block) {
    const found = !parser.indented && block.type === "paragraph" && /^(?:=+|-+)[ \t]*$/.test(parser.rest);
    if (!found) return false;
    readReferences(parser, block);
    const text = block.lines.join("\n").trim();
    if (!text) return false;
    parser.closeUnmatched();
    Object.assign(block, { type: "heading", level: parser.rest[0] === "=" ? 1 : 2, text });
    return true;
  },
  function rule(parser) {
    if (parser.indented || !/^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/.test(parser.rest)) return false;
    parser.add("rule");
    return true;
  },
  function item(parser, block) {
    const marker = readMarker(parser, block);
    if (!marker) return false;
    parser.closeUnmatched();
    if (parser.tip.type !== "list" || parser.tip.kind !== marker.kind) {
      parser.add("list", { kind: marker.kind, ordered: marker.ordered, start: marker.start });
    }
    parser.add("item", { width: marker.width });
    return true;
  },
  function indentedCode(parser) {
    if (!parser.indented || parser.blank || parser.tip.type === "paragraph") return false;
    parser.skip(CODE_INDENT);
    parser.add("code", { fence: "", info: "", lines: [] });
    return true;
  },
];

function depth(block) {
  return block.parent ? 1 + depth(block.parent) : 0;
}

function enterQuote(parser) {
  parser.skipIndent();
  parser.skip(1);
  if (parser.atSpace()) parser.skip(1);
}

function readMarker(parser, block) {
  if (parser.indented) return null;
  const found = /^(?:([*+-])|(\d{1,9})([.)]))(?=[ \t]|$)/.exec(parser.rest);
  if (!found) return null;
  const [marker, bullet, digits, delimiter] = found;
  // Only a list that says something, and starts at 1, may cut a paragraph in two.
  const interrupts = block.type === "paragraph";
  if (interrupts && ((digits && Number(digits) !== 1) || !parser.rest.slice(marker.length).trim())) return null;
  const indent = parser.indent;
  parser.skipIndent();
  parser.skip(marker.length);
  const after = { offset: parser.offset, column: parser.column, inTab: parser.inTab };
  while (parser.column - after.column < 5 && parser.atSpace()) parser.skip(1);
  const spaces = parser.column - after.column;
  const blank = parser.offset >= parser.line.length;
  const narrow = spaces < 1 || spaces >= 5 || blank;
  if (narrow) {
    Object.assign(parser, after);
    if (parser.atSpace()) parser.skip(1);
  }
  const width = indent + marker.length + (narrow ? 1 : spaces);
  return { kind: bullet ?? delimiter, ordered: Boolean(digits), start: Number(digits ?? 1), width };
}

function readAlignment(line) {
  if (!/^[|:-][|:\-\s]*$/.test(line) || /^-\s/.test(line) || line.trim().length < 2) return null;
  const cells = splitRow(line);
  if (!cells.every((cell) => /^:?-+:?$/.test(cell))) return null;
  return cells.map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return cell.startsWith(":") ? "left" : "";
  });
}

function splitRow(line) {
  const cells = line.trim().split(/(?<!\\)\|/);
  if (cells[0] === "") cells.shift();
  if (cells.at(-1) === "") cells.pop();
  return cells.map((cell) => cell.replaceAll("\\|", "|").trim());
}

function readReferences(parser, block) {
  let text = block.lines.join("\n");
  for (let length = 1; text[0] === "[" && length; text = text.slice(length)) {
    length = takeReference(text, parser.references);
  }
  block.lines = text ? text.split("\n") : [];
}
