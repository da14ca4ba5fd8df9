/** Block Kit as DOM nodes (https://docs.slack.dev/reference/block-kit/blocks). */

import { el, icon } from "./dom.js";
import { withEmoji } from "./entities.js";
import { choices, field } from "./inputs.js";
import { link, renderMarkdown } from "./markdown.js";
import { inlineMrkdwn, renderMrkdwn } from "./mrkdwn.js";

/** The body of a message: its blocks, or its text where it has none; a person's rich text says the same as the text. */
export function renderBody(message, directory) {
  const blocks = message.blocks ?? [];
  if (!blocks.some((block) => block.type !== "rich_text")) return renderMrkdwn(message.text, directory);
  return renderBlocks(blocks, { directory, message });
}

/** Blocks of a `message`, or of a `view` (its id, with `problems` by block). */
export function renderBlocks(blocks, context) {
  return blocks.flatMap((block) => {
    const render = BLOCKS[block.type];
    return render ? render(block, context) : [el("p", {}, unknown(`block of type “${block.type}”`))];
  });
}

const BLOCKS = {
  markdown: (block, { directory }) => renderMarkdown(block.text, directory),
  header: (block) => [el("h4", { class: "header" }, withEmoji(block.text.text))],
  divider: () => [el("hr")],
  rich_text: (block, { message, directory }) => renderMrkdwn(message?.text ?? "", directory),
  image: (block) => [el("p", {}, link(block.image_url ?? "", block.title?.text ?? block.alt_text))],
  section(block, context) {
    const text = block.text ? textObject(block.text, context) : [];
    const fields = (block.fields ?? []).map((field) => el("div", {}, textObject(field, context)));
    const grid = fields.length ? el("div", { class: "fields" }, fields) : null;
    const accessory = block.accessory ? element(block.accessory, { ...context, block }) : null;
    return [el("div", { class: "section", "data-block": block.block_id }, el("div", {}, text, grid), accessory)];
  },
  input: (block, context) => [input(block, context)],
  context(block, context) {
    const show = (item) => (item.type === "image" ? element(item, context) : el("span", {}, inline(item, context)));
    return [el("div", { class: "context" }, block.elements.map(show))];
  },
  actions: (block, context) => [actions("actions", block, context)],
  context_actions: (block, context) => [actions("actions quiet", block, context)],
};

function actions(style, block, context) {
  const inner = { ...context, block };
  return el("div", { class: style, "data-block": block.block_id }, block.elements.map((item) => element(item, inner)));
}

/** A field with its label, its hint, and what is wrong with it. */
function input(block, { directory, view, problems = {} }) {
  const name = `${view}-${block.block_id}`;
  const problem = problems[block.block_id];
  const control = field(block.element, name, directory, `${name}-about`);
  if (!control) return el("p", {}, unknown(block.element.type));
  if (problem) control.setAttribute("aria-invalid", "true");
  const group = ["group", "radiogroup"].includes(control.getAttribute("role"));
  if (group) control.setAttribute("aria-labelledby", `${name}-label`);
  const optional = block.optional ? el("span", { class: "hint" }, " (optional)") : null;
  const label = el(group ? "span" : "label", { id: `${name}-label`, class: "label", for: group ? null : name }, block.label.text, optional);
  const hint = block.hint ? el("p", { class: "hint" }, withEmoji(block.hint.text)) : null;
  const wrong = problem ? el("p", { class: "problem", role: "alert" }, problem) : null;
  return el("div", { class: "field", "data-block": block.block_id }, label, control, el("div", { id: `${name}-about` }, hint, wrong));
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
      return press(item, item.value, context, { class: `button ${item.style ?? ""}`, ...spoken(item) }, withEmoji(item.text.text));
    case "icon_button":
      return press(item, item.value, context, { class: "button" }, [icon("delete"), item.text.text]);
    case "feedback_buttons":
      return [
        [item.positive_button, "up"],
        [item.negative_button, "down"],
      ].map(([choice, sign]) => {
        const { channel, ts } = context.message ?? {};
        const { me, chosen } = context.directory;
        const pressed = chosen?.get(`${me}/${channel}/${ts}/${item.action_id}`) === choice.value;
        const label = { "aria-label": choice.text.text, title: choice.text.text, ...spoken(choice) };
        const state = { "aria-pressed": String(pressed), class: "button feedback" };
        return press(item, choice.value, context, { ...state, ...label }, icon(sign));
      });
    case "overflow": {
      const more = { "data-do": "overflow", "data-options": JSON.stringify(item.options), "aria-haspopup": "menu" };
      return press(item, null, context, { class: "button", "aria-label": "More", title: "More", ...more }, icon("more"));
    }
    case "static_select":
      return chooser(item, context);
    case "image":
      return link(item.image_url, item.alt_text);
    default:
      return (context.view && field(item, `${context.view}-${item.action_id}`, context.directory)) || unknown(item.type);
  }
}

/** What a screen reader says of a button, where that is not what stands on it. */
function spoken({ accessibility_label: label }) {
  return label ? { "aria-label": label } : {};
}

/** A select that tells the app at once what was chosen. */
function chooser(item, { message, view, block }) {
  const label = item.placeholder?.text ?? block?.text?.text ?? "Choose";
  const place = view ? { "data-view": view, "data-kind": item.type } : { "data-channel": message.channel, "data-ts": message.ts };
  const confirm = item.confirm && { "data-confirm": JSON.stringify(item.confirm) };
  const attributes = { class: "button", "data-choose": true, "data-action": item.action_id, "aria-label": label, ...confirm };
  const first = item.initial_option ? null : el("option", { value: "" }, item.placeholder?.text ?? "Choose…");
  return el("select", { ...attributes, ...place }, first, choices(item, [item.initial_option?.value]));
}

function press(item, value, { message, view }, attributes, label) {
  const place = view ? { "data-view": view } : { "data-channel": message.channel, "data-ts": message.ts };
  const action = { "data-action": item.action_id, "data-value": value ?? null };
  const confirm = item.confirm && { "data-confirm": JSON.stringify(item.confirm) };
  return el("button", { type: "button", "data-do": "press", ...attributes, ...place, ...action, ...confirm }, label);
}
