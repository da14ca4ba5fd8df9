/** A small menu at a button: arrow keys move, Escape or a click elsewhere closes. */

import { el } from "./dom.js";

const GAP = 6; // pixels
const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** Offer `items` ({value, label, content?}) at a button; resolves to the chosen value, or null. */
export function offer(anchor, label, items, style = "") {
  const entry = ({ label: name, content }) =>
    el("button", { type: "button", role: "menuitem", tabindex: -1, ...(content && named(name)) }, content ?? name);
  const menu = el("div", { class: `menu ${style}`, role: "menu", "aria-label": label, popover: "auto" }, items.map(entry));
  document.body.append(menu);
  return new Promise((resolve) => {
    let chosen = null;
    const buttons = [...menu.children];
    menu.addEventListener("click", (event) => {
      const index = buttons.indexOf(event.target.closest("button"));
      if (index < 0) return;
      chosen = items[index].value;
      menu.hidePopover();
    });
    menu.addEventListener("keydown", (event) => {
      const step = STEPS[event.key] ?? (event.key === "Tab" ? (event.shiftKey ? -1 : 1) : 0);
      if (!step) return;
      event.preventDefault();
      const at = buttons.indexOf(document.activeElement);
      buttons[(at + step + buttons.length) % buttons.length].focus();
    });
    menu.addEventListener("toggle", (event) => {
      if (event.newState !== "closed") return;
      menu.remove();
      anchor.setAttribute("aria-expanded", "false");
      anchor.focus();
      resolve(chosen);
    });
    menu.showPopover();
    anchor.setAttribute("aria-expanded", "true");
    place(menu, anchor.getBoundingClientRect());
    buttons[0]?.focus();
  });
}

function named(name) {
  return { "aria-label": name, title: name };
}

function place(menu, { left, top, bottom }) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = bottom + GAP + height < innerHeight;
  menu.style.top = `${below ? bottom + GAP : Math.max(GAP, top - GAP - height)}px`;
  menu.style.left = `${Math.max(GAP, Math.min(left, innerWidth - width - GAP))}px`;
}
