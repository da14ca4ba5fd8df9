/** The fields of Block Kit, in modals, and what stands in them. */

import { el } from "./dom.js";
import { withEmoji } from "./entities.js";

const TYPES = {
  plain_text_input: "text",
  email_text_input: "email",
  number_input: "number",
  url_text_input: "url",
  datepicker: "date",
  timepicker: "time",
};

/** One field; null for a type this page does not have. `name` is its id, `describedBy` names its hint and error. */
export function field(item, name, directory, describedBy = null) {
  const common = { id: name, "aria-describedby": describedBy, "data-action": item.action_id, "data-kind": item.type };
  const hint = item.placeholder?.text ?? null;
  if (item.type in TYPES) {
    const initial = item.initial_value ?? item.initial_date ?? item.initial_time ?? "";
    const bounds = { minlength: item.min_length, maxlength: item.max_length, placeholder: hint };
    if (!item.multiline) return el("input", { ...common, ...bounds, type: TYPES[item.type], value: initial });
    return el("textarea", { ...common, ...bounds, rows: 4 }, initial);
  }
  const initial = [item.initial_option, ...(item.initial_options ?? [])].map((option) => option?.value);
  switch (item.type) {
    case "static_select":
    case "multi_static_select": {
      const multiple = item.type === "multi_static_select";
      const first = multiple ? null : el("option", { value: "" }, hint ?? "Choose…");
      return el("select", { ...common, multiple }, first, choices(item, initial));
    }
    case "users_select":
    case "channels_select":
    case "conversations_select": {
      const list = [...directory[item.type === "users_select" ? "users" : "channels"].values()];
      const start = item.initial_user ?? item.initial_channel ?? item.initial_conversation;
      const entry = ({ id, name: label }) => el("option", { value: id, selected: id === start }, label);
      return el("select", common, el("option", { value: "" }, hint ?? "Choose…"), list.map(entry));
    }
    case "radio_buttons":
    case "checkboxes": {
      const type = item.type === "checkboxes" ? "checkbox" : "radio";
      const entry = (option) => {
        const checked = initial.includes(option.value);
        const box = el("input", { type, name, value: option.value, checked });
        const more = option.description ? el("span", { class: "hint" }, withEmoji(option.description.text)) : null;
        return el("label", { class: "choice" }, box, el("span", {}, withEmoji(option.text.text), more));
      };
      return el("div", { ...common, role: type === "radio" ? "radiogroup" : "group" }, item.options.map(entry));
    }
    default:
      return null;
  }
}

/** Options of a select, in their groups. */
export function choices(item, initial = []) {
  const entry = ({ value, text }) => el("option", { value, selected: initial.includes(value) }, withEmoji(text.text));
  if (!item.option_groups) return item.options.map(entry);
  return item.option_groups.map((group) => el("optgroup", { label: group.label.text }, group.options.map(entry)));
}

/** What stands in the fields below `root`: {block: {action: value}}. */
export function entered(root) {
  const values = {};
  for (const node of root.querySelectorAll("[data-kind]")) {
    const block = node.closest("[data-block]").dataset.block;
    values[block] ??= {};
    values[block][node.dataset.action] = value(node);
  }
  return values;
}

function value(node) {
  const checked = () => [...node.querySelectorAll(":checked")].map((box) => box.value);
  switch (node.dataset.kind) {
    case "checkboxes":
      return checked();
    case "radio_buttons":
      return checked()[0] ?? null;
    case "multi_static_select":
      return [...node.selectedOptions].map((option) => option.value);
    default:
      return node.value || null;
  }
}
