/** Files: those waiting to be sent with a message, and those that were. */

import { el, icon } from "./dom.js";

const PICTURES = /^image\/(gif|jpeg|png|webp)$/;
const UNITS = ["bytes", "KB", "MB", "GB"];

/** "1.4 MB". */
export function size(bytes) {
  let number = bytes;
  let unit = 0;
  while (number >= 1000 && unit < UNITS.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit && number < 10 ? number.toFixed(1) : Math.round(number)} ${UNITS[unit]}`;
}

/** The files of a message; one click downloads. */
export function shared(files) {
  if (!files?.length) return null;
  return el("div", { class: "files" }, files.map(chip));
}

function chip(file) {
  const name = file.title || file.name || "file";
  const label = [el("span", { class: "name" }, name), file.size ? el("span", { class: "size" }, size(file.size)) : null];
  if (!file.url) return el("span", { class: "file" }, icon("file"), label);
  const picture = PICTURES.test(file.mimetype) ? el("img", { src: file.url, alt: "" }) : icon("file");
  const target = { href: file.url, download: name, title: `Download ${name}` };
  return el("a", { class: PICTURES.test(file.mimetype) ? "file picture" : "file", ...target }, picture, label);
}

/** Files chosen, dropped or pasted for the next message. */
export class Attachments {
  constructor() {
    this.files = [];
    this.node = el("ul", { class: "files waiting", "aria-label": "Files to send", hidden: true });
    this.input = el("input", { type: "file", multiple: true, hidden: true, tabindex: -1, "aria-label": "Files" });
    this.button = el(
      "button",
      { type: "button", class: "tool", "aria-label": "Attach files", title: "Attach files" },
      icon("clip"),
    );
    this.button.addEventListener("click", () => this.input.click());
    this.input.addEventListener("change", () => {
      this.add(this.input.files);
      this.input.value = "";
    });
  }

  add(files) {
    this.files.push(...files);
    this.draw();
  }

  /** Hand the files over and be empty. */
  take() {
    const files = this.files;
    this.files = [];
    this.draw();
    return files;
  }

  /** Take what is dropped on `zone`, or pasted there. */
  listen(zone, done) {
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    let inside = 0;
    const mark = (step) => {
      inside = step ? Math.max(0, inside + step) : 0;
      zone.classList.toggle("dropping", inside > 0);
    };
    zone.addEventListener("dragenter", (event) => carries(event) && mark(1));
    zone.addEventListener("dragleave", (event) => carries(event) && mark(-1));
    zone.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
    zone.addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      mark(0);
      this.add(event.dataTransfer.files);
      done();
    });
    zone.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) this.add(event.clipboardData.files);
    });
  }

  draw() {
    const item = (file, index) => {
      const label = { "aria-label": `Remove ${file.name}`, title: "Remove" };
      const remove = el("button", { type: "button", class: "tool", ...label }, icon("close"));
      remove.addEventListener("click", () => {
        this.files.splice(index, 1);
        this.draw();
        this.button.focus();
      });
      const name = el("span", { class: "name" }, file.name);
      return el("li", { class: "file" }, icon("file"), name, el("span", { class: "size" }, size(file.size)), remove);
    };
    this.node.replaceChildren(...this.files.map(item));
    this.node.hidden = !this.files.length;
  }
}
