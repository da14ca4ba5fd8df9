/** The modal in front of a person: the uppermost view of their stack. */

import { act } from "./api.js";
import { renderBlocks } from "./blocks.js";
import { el, icon, patch } from "./dom.js";
import { entered } from "./inputs.js";

export class Modals {
  /** `person()` is who looks; `toast(text)` shows what went wrong. */
  constructor({ person, toast }) {
    this.person = person;
    this.toast = toast;
    this.dialog = null;
    this.shown = "";
    this.problems = {};
    this.redraw = () => {};
  }

  /** Show the uppermost of `stack`, or nothing. A view that only changed keeps what was typed into it. */
  draw(stack, directory) {
    this.redraw = () => this.draw(stack, directory);
    const view = stack.at(-1);
    if (!view) {
      this.leave();
      return;
    }
    const key = `${this.person()} ${view.id}`;
    if (key !== this.shown) this.problems = {};
    const signature = `${view.hash} ${stack.length} ${JSON.stringify(this.problems)}`;
    if (key === this.shown && signature === this.signature) return;
    this.signature = signature;
    const form = this.form(view, stack.length, directory);
    if (this.dialog && key === this.shown) {
      patch(this.dialog.firstElementChild, form);
      return;
    }
    this.leave();
    this.shown = key;
    this.dialog = el("dialog", { class: "modal", "aria-labelledby": "modal-title" }, form);
    this.listen(this.dialog, view.id);
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.dialog.querySelector(".blocks :is(input, textarea, select)")?.focus();
  }

  leave() {
    this.dialog?.close(); // gives the focus back
    this.dialog?.remove();
    this.dialog = null;
    this.shown = "";
  }

  form(view, depth, directory) {
    const context = { directory, view: view.id, problems: this.problems };
    const back = view.close?.text ?? (depth > 1 ? "Back" : view.submit ? "Cancel" : "Close");
    const leave = { "aria-label": depth > 1 ? "Close all" : "Close", title: "Close" };
    const known = view.blocks.map((block) => block.block_id);
    const stray = Object.entries(this.problems).filter(([block]) => !known.includes(block));
    const trouble = stray.map(([, text]) => el("p", { class: "problem", role: "alert" }, text));
    return el(
      "form",
      { novalidate: true, "data-modal": view.id },
      el(
        "header",
        {},
        el("h2", { id: "modal-title" }, view.title.text),
        el("button", { type: "button", class: "close", "data-leave": "all", ...leave }, icon("close")),
      ),
      el("div", { class: "blocks body" }, el("div", { class: "trouble" }, trouble), renderBlocks(view.blocks, context)),
      el(
        "div",
        { class: "actions" },
        el("button", { type: "button", class: "button", "data-leave": "one" }, back),
        view.submit ? el("button", { type: "submit", class: "button primary" }, view.submit.text) : null,
      ),
    );
  }

  listen(dialog, id) {
    const user = this.person();
    const leave = (all) => this.ask("close_view", { user, view: id, all });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      leave(false);
    });
    dialog.addEventListener("click", (event) => {
      const button = event.target.closest("[data-leave]");
      if (button) leave(button.dataset.leave === "all");
    });
    dialog.addEventListener("submit", async (event) => {
      event.preventDefault();
      const form = event.target;
      form.inert = true;
      const answer = await this.ask("submit", { user, view: id, values: entered(form) });
      form.inert = false;
      this.complain(answer?.errors ?? (answer?.trouble ? { "": answer.trouble } : {}));
    });
  }

  /** Show a sentence at each field, and go to the first. */
  complain(problems) {
    this.problems = problems;
    this.redraw();
    this.dialog?.querySelector('[aria-invalid="true"]')?.focus();
  }

  async ask(deed, body) {
    try {
      return await act(deed, body);
    } catch (error) {
      this.toast(error.message);
      return null;
    }
  }
}
