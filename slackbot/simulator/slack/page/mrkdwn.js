/** Slack's own markup, mrkdwn, as DOM nodes (https://docs.slack.dev/messaging/formatting-message-text). */

import { el } from "./dom.js";
import { entity, unescape, withEmoji } from "./entities.js";
import { codeBlock, link } from "./markdown.js";
import { splitLinks } from "./markdown-text.js";

const FENCE = /```\n?([^]*?)\n?```/g;
const INLINE = new RegExp(
  [
    "`([^`\\n]+)`",
    "<([^<>\\n]+)>",
    ...["*", "_", "~"].map((mark) => `(?<![\\w${mark}])[${mark}](?!\\s)(.*?[^\\s${mark}])[${mark}](?![\\w${mark}])`),
  ].join("|"),
  "g",
);

/** Nodes for a mrkdwn text: fenced code, quotes and lines of inline markup. */
export function renderMrkdwn(text, directory) {
  const nodes = [];
  let from = 0;
  for (const fence of text.matchAll(FENCE)) {
    nodes.push(...lines(text.slice(from, fence.index).replace(/\n$/, ""), directory));
    nodes.push(codeBlock(unescape(fence[1].replace(/<([^<>|\s]+)(?:\|[^<>]*)?>/g, "$1"))));
    from = fence.index + fence[0].length;
    if (text[from] === "\n") from += 1;
  }
  nodes.push(...lines(text.slice(from), directory));
  return nodes;
}

/** One line's worth of mrkdwn, without blocks. */
export function inlineMrkdwn(text, directory) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, code, entityText, bold, italic, struck] = found;
    nodes.push(...words(text.slice(from, found.index)));
    if (code !== undefined) nodes.push(el("code", {}, unescape(code)));
    else if (entityText !== undefined) nodes.push(angled(entityText, directory));
    else if (bold !== undefined) nodes.push(el("strong", {}, inlineMrkdwn(bold, directory)));
    else if (italic !== undefined) nodes.push(el("em", {}, inlineMrkdwn(italic, directory)));
    else nodes.push(el("s", {}, inlineMrkdwn(struck, directory)));
    from = found.index + all.length;
  }
  nodes.push(...words(text.slice(from)));
  return nodes;
}

function words(text) {
  const show = (node) => (node.type === "link" ? link(node.href, node.href) : withEmoji(node.text));
  return splitLinks(unescape(text)).map(show);
}

function angled(source, directory) {
  if (/^[@#!]/.test(source)) return entity(source, directory);
  const [href, label] = source.split(/\|(.*)/s);
  if (!/^[a-z][a-z0-9+.-]*:/i.test(href)) return `<${unescape(source)}>`;
  return link(unescape(href), unescape(label ?? href));
}

function lines(text, directory) {
  if (!text) return [];
  const groups = [];
  for (const line of text.split("\n")) {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(line);
    const group = groups.at(-1);
    const content = quoted ? quoted[1] : line;
    if (group?.quoted === Boolean(quoted)) group.lines.push(content);
    else groups.push({ quoted: Boolean(quoted), lines: [content] });
  }
  return groups.map((group) => {
    const content = group.lines.flatMap((line, index) => [index ? "\n" : "", ...inlineMrkdwn(line, directory)]);
    const paragraph = el("p", { class: "mrkdwn" }, content);
    return group.quoted ? el("blockquote", {}, paragraph) : paragraph;
  });
}
