/** The smallest pieces of inline Markdown: characters, escapes, labels, and web addresses in plain text. */

/** What a backslash makes literal. */
export const ESCAPABLE = /^[!-/:-@[-`{-~]/;
const ESCAPED = /\\([!-/:-@[-`{-~])|&(?:#[xX][0-9a-fA-F]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});/g;
const BARE_LINK = /(?<![\w/])https?:\/\/[^\s<>]+/g;

export function isSpace(char) {
  return /[\s\p{Zs}]/u.test(char);
}

export function isPunctuation(char) {
  return /[\p{P}\p{S}]/u.test(char);
}

export function normalize(label) {
  return label.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase();
}

export function unescapeText(text) {
  return text.replace(ESCAPED, (all, char) => char ?? decodeCharacter(all));
}

/** A character reference as its text. Nothing but `&name;` gets here, so the browser's own table is safe to ask. */
export function decodeCharacter(reference) {
  const code = /^&#(?:[xX]([0-9a-fA-F]+)|([0-9]+));$/.exec(reference);
  if (!code) return new DOMParser().parseFromString(reference, "text/html").documentElement.textContent;
  const point = code[1] ? Number.parseInt(code[1], 16) : Number(code[2]);
  const valid = point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
  return String.fromCodePoint(valid ? point : 0xfffd);
}

/** A text with its bare web addresses as links; closing punctuation stays outside. */
export function splitLinks(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(BARE_LINK)) {
    let href = found[0].replace(/[.,:;!?'"*_~]+$/, "");
    while (href.endsWith(")") && href.split(")").length > href.split("(").length) {
      href = href.slice(0, -1).replace(/[.,:;!?]+$/, "");
    }
    if (found.index > from) nodes.push({ type: "text", text: text.slice(from, found.index) });
    nodes.push({ type: "link", href, children: [{ type: "text", text: href }] });
    from = found.index + href.length;
  }
  if (from < text.length) nodes.push({ type: "text", text: text.slice(from) });
  return nodes;
}
