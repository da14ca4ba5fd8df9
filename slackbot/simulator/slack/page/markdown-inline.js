/**
 * Inline Markdown to a list of nodes: CommonMark 0.31 with ~~strike~~, Slack's entities and bare links.
 * Nodes: {type: text|code|break|softbreak|emphasis|strong|strike|link|image|entity, text?, href?, children?}.
 */

import * as characters from "./markdown-text.js";

const { decodeCharacter, ESCAPABLE, isPunctuation, isSpace, normalize, splitLinks, unescapeText } = characters;

const PLAIN = /[^\n\\`*_~[\]!<&]+/y;
const AUTOLINK = /<([A-Za-z][A-Za-z0-9+.-]{1,31}:[^<>\x00-\x20]*)>/y;
const HOST_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const MAIL = new RegExp(`<([\\w.!#$%&'*+/=?^\`{|}~-]+@${HOST_LABEL}(?:\\.${HOST_LABEL})*)>`, "y");
const ENTITY = /<([@#!][^<>\s][^<>\n]*)>/y;
const CHARACTER = /&(?:#[xX][0-9a-fA-F]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});/y;
const LABEL = /\[((?:[^\\[\]]|\\[^])*)\]/y;
const LINE_END = /[ \t]*(?:\n|$)/y;
const TITLE = /"((?:[^"\\]|\\[^])*)"|'((?:[^'\\]|\\[^])*)'|\(((?:[^()\\]|\\[^])*)\)/y;

export function parseInline(text, references = new Map()) {
  return linkBare(merge(new InlineParser(text, references).run()));
}

/** The text of nodes without their form. */
export function plain(nodes) {
  return nodes.map((node) => node.text ?? (node.children ? plain(node.children) : " ")).join("");
}

/** Read one link definition at the start of `text`; returns how many characters it took, or 0. */
export function takeReference(text, references) {
  const parser = new InlineParser(text, references);
  const label = parser.match(LABEL);
  if (!label || !normalize(label[1]) || label[1].length > 999 || text[parser.at] !== ":") return 0;
  parser.at += 1;
  parser.space();
  const href = parser.destination();
  if (href === null) return 0;
  // A title that does not end its line is none: then the definition must end before it.
  const untitled = parser.at;
  if (parser.space() && parser.title() && parser.match(LINE_END)) return define();
  parser.at = untitled;
  return parser.match(LINE_END) ? define() : 0;

  function define() {
    const key = normalize(label[1]);
    if (!references.has(key)) references.set(key, { href });
    return parser.at;
  }
}

class InlineParser {
  constructor(text, references) {
    this.text = text;
    this.references = references;
    this.at = 0;
    this.nodes = [];
    this.runs = [];
    this.brackets = [];
  }

  run() {
    while (this.at < this.text.length) this.step();
    this.emphasize(0);
    return this.nodes;
  }

  step() {
    switch (this.text[this.at]) {
      case "\n":
        return this.newline();
      case "\\":
        return this.backslash();
      case "`":
        return this.codeSpan();
      case "*":
      case "_":
      case "~":
        return this.delimiters();
      case "[":
        return this.bracket("[");
      case "!":
        return this.text[this.at + 1] === "[" ? this.bracket("![") : this.literal(1);
      case "]":
        return this.closeBracket();
      case "<":
        return this.angle();
      case "&":
        return this.character();
      default:
        return this.literal(this.find(PLAIN)[0].length);
    }
  }

  find(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  match(pattern) {
    const found = this.find(pattern);
    if (found) this.at += found[0].length;
    return found;
  }

  push(type, values = {}) {
    const node = { type, ...values };
    this.nodes.push(node);
    return node;
  }

  literal(length) {
    this.push("text", { text: this.text.slice(this.at, this.at + length) });
    this.at += length;
  }

  newline() {
    const before = this.nodes.at(-1);
    const hard = before?.type === "text" && before.text.endsWith("  ");
    if (before?.type === "text") before.text = before.text.replace(/ +$/, "");
    this.push(hard ? "break" : "softbreak");
    this.at += 1;
    this.match(/[ \t]*/y);
  }

  backslash() {
    const next = this.text[this.at + 1] ?? "";
    if (next === "\n") {
      this.push("break");
      this.at += 2;
      this.match(/[ \t]*/y);
    } else if (ESCAPABLE.test(next)) {
      this.push("text", { text: next });
      this.at += 2;
    } else {
      this.literal(1);
    }
  }

  codeSpan() {
    const ticks = this.find(/`+/y)[0];
    const start = this.at + ticks.length;
    const runs = /`+/g;
    runs.lastIndex = start;
    let end = runs.exec(this.text);
    while (end && end[0].length !== ticks.length) end = runs.exec(this.text);
    if (!end) return this.literal(ticks.length);
    let code = this.text.slice(start, end.index).replaceAll("\n", " ");
    if (/^ .* $/s.test(code) && code.trim()) code = code.slice(1, -1);
    this.push("code", { text: code });
    this.at = end.index + ticks.length;
    return undefined;
  }

  delimiters() {
    const char = this.text[this.at];
    let end = this.at;
    while (this.text[end] === char) end += 1;
    const count = end - this.at;
    const before = [...this.text.slice(Math.max(0, this.at - 2), this.at)].at(-1) ?? "\n";
    const after = this.text.slice(end).match(/^./su)?.[0] ?? "\n";
    const left = !isSpace(after) && (!isPunctuation(after) || isSpace(before) || isPunctuation(before));
    const right = !isSpace(before) && (!isPunctuation(before) || isSpace(after) || isPunctuation(after));
    const inWord = char === "_";
    const node = this.push("text", { text: this.text.slice(this.at, end) });
    this.at = end;
    this.runs.push({
      char,
      count,
      length: count,
      node,
      opens: left && (!inWord || !right || isPunctuation(before)),
      closes: right && (!inWord || !left || isPunctuation(after)),
    });
  }

  bracket(mark) {
    const node = this.push("text", { text: mark });
    this.at += mark.length;
    this.brackets.push({ node, image: mark === "![", runs: this.runs.length, start: this.at, active: true });
  }

  closeBracket() {
    const opener = this.brackets.pop();
    const end = this.at;
    if (!opener?.active) return this.literal(1);
    this.at += 1;
    const target = this.inlineTarget() ?? this.referencedTarget(opener, end);
    if (!target) {
      this.at = end;
      return this.literal(1);
    }
    this.emphasize(opener.runs);
    const index = this.nodes.lastIndexOf(opener.node);
    const children = this.nodes.splice(index).slice(1);
    this.push(opener.image ? "image" : "link", { ...target, children });
    if (!opener.image) {
      for (const earlier of this.brackets) earlier.active = earlier.active && earlier.image;
    }
    return undefined;
  }

  /** `(destination "title")` right here, or null. */
  inlineTarget() {
    const start = this.at;
    if (this.text[this.at] !== "(") return null;
    this.at += 1;
    this.space();
    const href = this.destination(true);
    if (href !== null) {
      if (this.space()) this.title();
      this.space();
      if (this.text[this.at] === ")") {
        this.at += 1;
        return { href };
      }
    }
    this.at = start;
    return null;
  }

  referencedTarget(opener, end) {
    const label = this.find(LABEL);
    const own = this.text.slice(opener.start, end);
    const key = label?.[1] ? label[1] : own;
    const target = this.references.get(normalize(key));
    if (!target) return null;
    if (label) this.at += label[0].length;
    return { ...target };
  }

  destination(mayBeEmpty = false) {
    const angled = this.match(/<((?:[^<>\n\\]|\\.)*)>/y);
    if (angled) return unescapeText(angled[1]);
    if (this.text[this.at] === "<") return null;
    const start = this.at;
    let depth = 0;
    for (; this.at < this.text.length; this.at += 1) {
      const char = this.text[this.at];
      if (char === "\\" && ESCAPABLE.test(this.text[this.at + 1] ?? "")) this.at += 1;
      else if (char === "(") depth += 1;
      else if (char === ")" && (depth -= 1) < 0) break;
      else if (char <= " " || char === "\x7f") break;
    }
    if (depth > 0 || (this.at === start && !mayBeEmpty)) return null;
    return unescapeText(this.text.slice(start, this.at));
  }

  /** A title, which Slack does not show. */
  title() {
    return this.match(TITLE) !== null;
  }

  space() {
    return this.match(/[ \t]*(?:\n[ \t]*)?/y)[0];
  }

  angle() {
    const link = this.match(AUTOLINK);
    if (link) return this.push("link", { href: link[1], children: [{ type: "text", text: link[1] }] });
    const mail = this.match(MAIL);
    if (mail) return this.push("link", { href: `mailto:${mail[1]}`, children: [{ type: "text", text: mail[1] }] });
    const entity = this.match(ENTITY);
    if (entity && /^(@[UW]\w+|#C\w+|!\w+)/.test(entity[1])) return this.push("entity", { text: entity[1] });
    if (entity) this.at -= entity[0].length;
    return this.literal(1);
  }

  character() {
    const found = this.match(CHARACTER);
    const decoded = found && decodeCharacter(found[0]);
    if (!found) this.literal(1);
    else this.push("text", { text: decoded });
  }

  /** Turn matched delimiter runs above `bottom` into emphasis, innermost first. */
  emphasize(bottom) {
    const runs = this.runs;
    const hopeless = new Map(); // kind of closer -> the last run before which none of its kind found an opener
    for (let at = bottom; at < runs.length; at += 1) {
      const closer = runs[at];
      if (!closer.closes) continue;
      const kind = `${closer.char}${closer.opens}${closer.length % 3}${closer.count > 1}`;
      let from = at - 1;
      while (from >= bottom && runs[from] !== hopeless.get(kind) && !pairs(runs[from], closer)) from -= 1;
      if (from < bottom || runs[from] === hopeless.get(kind)) {
        hopeless.set(kind, runs[at - 1]);
        continue;
      }
      this.wrap(runs[from], closer);
      const spent = runs[from].count ? from + 1 : from;
      runs.splice(spent, at - spent + (closer.count ? 0 : 1));
      at = spent - 1;
    }
    runs.length = bottom;
  }

  wrap(opener, closer) {
    const used = closer.char === "~" || (opener.count >= 2 && closer.count >= 2) ? 2 : 1;
    for (const run of [opener, closer]) {
      run.count -= used;
      run.node.text = run.node.text.slice(used);
    }
    const first = this.nodes.lastIndexOf(opener.node);
    const last = this.nodes.lastIndexOf(closer.node);
    const type = closer.char === "~" ? "strike" : used === 2 ? "strong" : "emphasis";
    this.nodes.splice(first + 1, last - first - 1, { type, children: this.nodes.slice(first + 1, last) });
  }
}

function pairs(opener, closer) {
  if (opener.char !== closer.char || !opener.opens) return false;
  if (closer.char === "~") return opener.count >= 2 && closer.count >= 2;
  // "Rule of three": https://spec.commonmark.org/0.31.2/#can-open-emphasis
  const both = opener.closes || closer.opens;
  return !(both && (opener.length + closer.length) % 3 === 0 && (opener.length % 3 !== 0 || closer.length % 3 !== 0));
}

/** Neighbouring texts become one. */
function merge(nodes) {
  const merged = [];
  for (const node of nodes) {
    if (node.children) node.children = merge(node.children);
    if (node.text === "" && node.type === "text") continue;
    const before = merged.at(-1);
    if (node.type === "text" && before?.type === "text") before.text += node.text;
    else merged.push(node);
  }
  return merged;
}

function linkBare(nodes) {
  return nodes.flatMap((node) => {
    if (node.type === "link" || node.type === "image") return [node];
    if (node.children) return [{ ...node, children: linkBare(node.children) }];
    return node.type === "text" ? splitLinks(node.text) : [node];
  });
}
