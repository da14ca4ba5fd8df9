/** Questions that wait for an answer. */

import { el } from "./dom.js";

/** Ask yes or no; resolves to a boolean. */
export async function ask(question, yes, { title, no, style = "danger" } = {}) {
  const content = [title ? el("h2", {}, title) : null, el("p", {}, question)];
  return (await open(content, yes, style, no)) !== null;
}

/** Let people be chosen; resolves to their ids, or null. */
export async function choosePeople(title, people) {
  const entry = ({ id, name, title: role }) =>
    el("label", { class: "choice" }, el("input", { type: "checkbox", value: id }), name, role ? el("span", { class: "hint" }, role) : null);
  const list = el("div", { role: "group", "aria-label": "People" }, people.map(entry));
  const done = await open([el("h2", {}, title), list], "Open", "primary");
  return done && [...list.querySelectorAll(":checked")].map((box) => box.value);
}

/** Let a text be changed; resolves to the new text, or null. */
export async function editText(title, text) {
  const input = el("textarea", { rows: 5, maxlength: 40000, "aria-label": title });
  input.value = text;
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      input.form.requestSubmit();
    }
  });
  const done = await open([el("h2", {}, title), input], "Save", "primary");
  return done === null || !input.value.trim() ? null : input.value;
}

function open(content, yes, style, no = "Cancel") {
  const cancel = el("button", { type: "button", class: "button" }, no);
  const confirm = el("button", { type: "submit", class: `button ${style}` }, yes);
  const form = el("form", {}, content, el("div", { class: "actions" }, cancel, confirm));
  const dialog = el("dialog", {}, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = true;
      dialog.close();
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
  });
}
