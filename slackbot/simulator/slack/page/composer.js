/** Where one writes: grows with its text, Enter sends, `@` offers people, files go along; a draft for each place. */

import { el, icon, patchChildren } from "./dom.js";
import { Attachments } from "./files.js";
import { avatar } from "./messages.js";

const TALLEST = 220; // pixels
const MENTION = /(?:^|[\s(])@([^\s@]*)$/;

export class Composer {
  /**
   * `send({text, files, broadcast})` resolves when it was taken, and throws an Error in words when not; `people()` can be
   * named; files dropped on `zone` are taken too, of at most `most()` bytes each.
   */
  constructor(id, { send, people, zone, most }) {
    this.send = send;
    this.people = people;
    this.place = "";
    this.drafts = new Map();
    this.offers = [];
    this.chosen = 0;
    const listbox = { role: "listbox", "aria-label": "People", hidden: true };
    this.menu = el("ul", { class: "offers", id: `${id}-offers`, ...listbox });
    this.input = el("textarea", {
      id: `${id}-input`,
      rows: 1,
      maxlength: 40000,
      autocomplete: "off",
      "aria-autocomplete": "list",
      "aria-controls": this.menu.id,
      "aria-expanded": "false",
      role: "combobox",
    });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.hint = el("p", { class: "hint", id: `${id}-hint` });
    this.input.setAttribute("aria-describedby", this.hint.id);
    this.mention = el("button", { type: "button", class: "insert" });
    const label = { "aria-label": "Send", title: "Send (Enter)" };
    const submit = el("button", { type: "submit", class: "send", ...label }, icon("send"));
    const keys = el("span", { class: "keys" }, "Enter sends, Shift+Enter breaks the line");
    this.attachments = new Attachments({ most, complain: (text) => this.complain(text) });
    const { node: waiting, button: attach, input: chooser } = this.attachments;
    this.also = el("input", { type: "checkbox", id: `${id}-also` });
    this.alsoLabel = el("label", { class: "also", hidden: true }, this.also, el("span", {}));
    const bar = el("div", { class: "bar" }, attach, this.mention, this.alsoLabel, keys, submit);
    const box = el("div", { class: "box" }, this.input, waiting, bar, chooser);
    this.attachments.listen(zone, () => this.focus());
    this.node = el("form", { class: "composer", id }, this.menu, this.problem, box, this.hint);
    this.listen();
  }

  /**
   * Move to a place: its draft, its words. `bot` is whom the button mentions, or null for no button; `also` names the
   * channel that a reply can be sent to besides.
   */
  show(place, { placeholder, hint, bot, also = "" }) {
    if (place !== this.place) {
      this.drafts.set(this.place, { text: this.input.value, files: this.attachments.take() });
      this.place = place;
      const draft = this.drafts.get(place);
      this.input.value = draft?.text ?? "";
      this.attachments.add(draft?.files ?? []);
      this.also.checked = false;
      this.complain("");
      this.fit();
      this.offer();
    }
    this.input.placeholder = placeholder;
    this.input.setAttribute("aria-label", placeholder);
    this.hint.textContent = hint;
    this.alsoLabel.hidden = !also;
    this.alsoLabel.lastChild.textContent = also ? `Also send to ${also}` : "";
    this.mention.hidden = !bot;
    this.mention.textContent = bot ? `@${bot.name}` : "";
    this.mention.title = bot ? `Mention ${bot.name}` : "";
  }

  get empty() {
    return !this.input.value.trim() && !this.attachments.files.length;
  }

  get focused() {
    return document.activeElement === this.input;
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** Put a text at the caret, ready to go on typing. */
  insert(text) {
    const { selectionStart: start, selectionEnd: end, value } = this.input;
    const gap = start > 0 && !/\s$/.test(value.slice(0, start)) ? " " : "";
    this.input.setRangeText(gap + text, start, end, "end");
    this.changed();
    this.focus();
  }

  fill(text) {
    this.input.value = text;
    this.changed();
    this.focus();
  }

  listen() {
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.mention.addEventListener("click", () => this.insert(`${this.mention.textContent} `));
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.offer([]));
    this.menu.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.index));
    });
  }

  key(event) {
    if (event.isComposing) return;
    const open = this.offers.length > 0;
    if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.chosen = (this.chosen + step + this.offers.length) % this.offers.length;
      this.drawOffers();
    } else if (open && (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey))) {
      this.take(this.chosen);
    } else if (open && event.key === "Escape") {
      event.stopPropagation();
      this.offer([]);
    } else if (event.key === "Enter" && !event.shiftKey) {
      this.submit();
    } else {
      return;
    }
    event.preventDefault();
  }

  changed() {
    this.fit();
    this.complain("");
    const typed = MENTION.exec(this.input.value.slice(0, this.input.selectionStart));
    this.offer(typed ? this.people().filter((user) => matches(user, typed[1])) : []);
  }

  async submit() {
    const text = this.input.value;
    if (this.empty) return;
    const place = this.place;
    const message = { text, files: this.attachments.take(), broadcast: this.also.checked && !this.alsoLabel.hidden };
    this.input.value = "";
    this.also.checked = false;
    this.changed();
    try {
      await this.send(message);
    } catch (error) {
      if (this.place === place && this.empty) {
        this.fill(text);
        this.attachments.add(message.files);
      } else this.drafts.set(place, message);
      this.complain(error.message);
    }
  }

  offer(offers = []) {
    this.offers = offers.slice(0, 6);
    this.chosen = 0;
    this.drawOffers();
  }

  drawOffers() {
    const option = (user, index) => {
      const chosen = { "aria-selected": String(index === this.chosen) };
      const badge = user.is_bot ? el("span", { class: "badge" }, "APP") : null;
      const attributes = { role: "option", id: `${this.menu.id}-${index}`, "data-index": index, ...chosen };
      return el("li", attributes, avatar(user, "small"), user.name, badge);
    };
    patchChildren(this.menu, this.offers.map(option));
    this.menu.hidden = !this.offers.length;
    this.input.setAttribute("aria-expanded", String(this.offers.length > 0));
    if (this.offers.length) this.input.setAttribute("aria-activedescendant", `${this.menu.id}-${this.chosen}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  take(index) {
    const caret = this.input.selectionStart;
    const typed = MENTION.exec(this.input.value.slice(0, caret));
    if (!typed) return;
    this.input.setRangeText(`@${this.offers[index].name} `, caret - typed[1].length - 1, caret, "end");
    this.changed();
    this.offer([]);
  }

  complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
  }

  fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, TALLEST)}px`;
  }
}

function matches(user, typed) {
  return user.name.toLowerCase().split(/[\s_-]+/).some((word) => word.startsWith(typed.toLowerCase()));
}
