/** Block Kit as DOM nodes (https://docs.slack.dev/reference/block-kit/blocks). */

import { el, icon } from "./dom.js";
import { withEmoji } from "./entities.js";
import { link, renderMarkdown } from "./markdown.js";
import { inlineMrkdwn, renderMrkdwn } from "./mrkdwn.js";

/** The body of a message: its blocks, or its text where it has none; a person's rich text says the same as the text. */
export function renderBody(message, directory) {
  const blocks = message.blocks ?? [];
  if (!blocks.some((block) => block.type !== "rich_text")) return renderMrkdwn(message.text, directory);
  return blocks.flatMap((block) => {
    const render = BLOCKS[block.type];
    return render ? render(block, { directory, message }) : [el("p", {}, unknown(`block of type “${block.type}”`))];
  });
}

const BLOCKS = {
  markdown: (block, { directory }) => renderMarkdown(block.text, directory),
  header: (block) => [el("h4", { class: "header" }, withEmoji(block.text.text))],
  divider: () => [el("hr")],
  rich_text: (block, { message, directory }) => renderMrkdwn(message.text, directory),
  image: (block) => [el("p", {}, link(block.image_url ?? "", block.title?.text ?? block.alt_text))],
  section(block, context) {
    const text = block.text ? textObject(block.text, context) : [];
    const fields = (block.fields ?? []).map((field) => el("div", {}, textObject(field, context)));
    const grid = fields.length ? el("div", { class: "fields" }, fields) : null;
    const accessory = block.accessory ? element(block.accessory, context) : null;
    return [el("div", { class: "section" }, el("div", {}, text, grid), accessory)];
  },
  context(block, context) {
    const show = (item) => (item.type === "image" ? element(item, context) : el("span", {}, inline(item, context)));
    return [el("div", { class: "context" }, block.elements.map(show))];
  },
  actions: (block, context) => [actions("actions", block, context)],
  context_actions: (block, context) => [actions("actions quiet", block, context)],
};

function actions(style, block, context) {
  return el("div", { class: style }, block.elements.map((item) => element(item, context)));
}

function unknown(what) {
  return el("span", { class: "unknown" }, `(a ${what}, which this page cannot show)`);
}

function textObject(text, { directory }) {
  if (text.type === "mrkdwn") return renderMrkdwn(text.text, directory);
  return [el("p", { class: "mrkdwn" }, withEmoji(text.text))];
}

function inline(text, { directory }) {
  return text.type === "mrkdwn" ? inlineMrkdwn(text.text, directory) : withEmoji(text.text);
}

function element(item, context) {
  switch (item.type) {
    case "button":
      if (item.url) return link(item.url, item.text.text);
      return press(item, item.value, context, { class: `button ${item.style ?? ""}` }, withEmoji(item.text.text));
    case "icon_button":
      return press(item, item.value, context, { class: "button" }, [icon("delete"), item.text.text]);
    case "feedback_buttons":
      return [
        [item.positive_button, "up"],
        [item.negative_button, "down"],
      ].map(([choice, sign]) => {
        const label = { "aria-label": choice.accessibility_label ?? choice.text.text, title: choice.text.text };
        return press(item, choice.value, context, { class: "button feedback", ...label }, icon(sign));
      });
    case "image":
      return link(item.image_url, item.alt_text);
    default:
      return unknown(item.type);
  }
}

function press(item, value, { message }, attributes, label) {
  const target = { "data-do": "press", "data-channel": message.channel, "data-ts": message.ts };
  const action = { "data-action": item.action_id, "data-value": value ?? null };
  const confirm = item.confirm && { "data-confirm": item.confirm.text.text, "data-yes": item.confirm.confirm?.text };
  return el("button", { type: "button", ...attributes, ...target, ...action, ...confirm }, label);
}
