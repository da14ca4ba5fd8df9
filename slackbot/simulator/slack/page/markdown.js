/** Markdown as Slack shows it: headings of one size, images as links, HTML as text. */

import { el } from "./dom.js";
import { entity } from "./entities.js";
import { parseBlocks } from "./markdown-blocks.js";
import { parseInline, plain } from "./markdown-inline.js";

/** DOM nodes for a Markdown text; `directory` gives mentions their names. */
export function renderMarkdown(text, directory) {
  const { blocks, references } = parseBlocks(text);
  const context = { directory, inline: (source) => inlineNodes(parseInline(source, references), directory) };
  return blocks.map((block) => BLOCKS[block.type](block, context));
}

/** A link that leaves the page; one without a way where the target is none a browser should follow. */
export function link(href, ...content) {
  const safe = /^(https?:|mailto:)/i.test(href);
  const target = safe ? { href, target: "_blank", rel: "noopener noreferrer" } : {};
  return el("a", { ...target, title: href }, ...content);
}

const BLOCKS = {
  paragraph: (block, { inline }) => el("p", {}, inline(block.text)),
  heading: (block, { inline }) => el("h4", { "data-level": block.level }, inline(block.text)),
  quote: (block, context) => el("blockquote", {}, children(block, context)),
  rule: () => el("hr"),
  code: (block) => codeBlock(block.text, block.info.split(/\s/)[0]),
  list(block, context) {
    const start = block.ordered && block.start !== 1 ? block.start : null;
    const items = block.children.map((item) => listItem(item, block.tight, context));
    return el(block.ordered ? "ol" : "ul", { start }, items);
  },
  table(block, { inline }) {
    const cell = (tag) => (text, column) => el(tag, { "data-align": block.align[column] || null }, inline(text));
    const head = el("thead", {}, el("tr", {}, block.head.map(cell("th"))));
    const rows = block.rows.map((row) => el("tr", {}, row.map(cell("td"))));
    const table = el("table", {}, head, rows.length ? el("tbody", {}, rows) : null);
    return el("div", { class: "table", tabindex: 0 }, table);
  },
};

/** Code with its language named above it. */
export function codeBlock(text, language = "") {
  const label = language ? el("span", { class: "language" }, language) : null;
  const code = el("pre", { tabindex: 0 }, el("code", {}, text));
  return el("div", { class: "code", "data-language": language || null }, label, code);
}

function children(block, context) {
  return block.children.map((child) => BLOCKS[child.type](child, context));
}

function listItem(item, tight, context) {
  const task = item.checked !== undefined;
  const content = item.children.map((child) =>
    tight && child.type === "paragraph" ? context.inline(child.text) : BLOCKS[child.type](child, context));
  const state = { checked: item.checked, "aria-label": item.checked ? "done" : "to do" };
  const box = task && el("input", { type: "checkbox", disabled: true, ...state });
  return el("li", { class: task ? "task" : null }, box, content);
}

function inlineNodes(nodes, directory, inLink = false) {
  const inner = (node, within = inLink) => inlineNodes(node.children, directory, within);
  return nodes.map((node) => {
    switch (node.type) {
      case "text":
        return node.text;
      case "softbreak":
        return "\n";
      case "break":
        return el("br");
      case "code":
        return el("code", {}, node.text);
      case "emphasis":
        return el("em", {}, inner(node));
      case "strong":
        return el("strong", {}, inner(node));
      case "strike":
        return el("s", {}, inner(node));
      case "entity":
        return entity(node.text, directory);
      case "image":
        return inLink ? plain(node.children) : link(node.href, plain(node.children) || node.href);
      default:
        return link(node.href, inner(node, true));
    }
  });
}
