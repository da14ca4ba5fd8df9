/** Files: those waiting to be sent with a message, and those that were. */

import { el, icon } from "./dom.js";
import { speak } from "./voice.js";

const PICTURES = /^image\/(gif|jpeg|png|webp)$/;
const UNITS = ["bytes", "KB", "MB", "GB"];
const GONE = {
  tombstone: "This file was deleted.",
  hidden_by_limit: "This file is hidden by the limits of the plan.",
  file_access: "A file of another organization",
};

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

/** What a file is called, by people and by screen readers. */
export function label(file) {
  return file.title || file.name || GONE[file.mode] || "file";
}

/** The files of a message: pictures as they are, all others as cards to download. */
export function shared(files) {
  if (!files?.length) return null;
  const item = (file) => el("li", {}, file.url && PICTURES.test(file.mimetype) ? picture(file) : card(file));
  return el("ul", { class: "files", "aria-label": files.length > 1 ? `${files.length} files` : "File" }, files.map(item));
}

function picture(file) {
  const name = label(file);
  const image = el("img", { src: file.url, alt: file.alt_txt || name, title: file.alt_txt });
  const open = el("a", { href: file.url, target: "_blank", rel: "noopener" }, el("span", { class: "sr" }, "Open "), image);
  const save = { class: "save", href: file.url, download: file.name || name, "aria-label": `Download ${name}` };
  return el(
    "figure",
    { class: "file picture" },
    open,
    el("figcaption", {}, words(file), el("a", { ...save, title: "Download" }, icon("end"))),
  );
}

function card(file) {
  const name = label(file);
  if (GONE[file.mode]) return el("span", { class: "file gone" }, icon("file"), GONE[file.mode]);
  if (file.external_url) {
    const elsewhere = { href: file.external_url, target: "_blank", rel: "noopener noreferrer" };
    return el("a", { class: "file", ...elsewhere }, icon("link"), el("span", { class: "name" }, name));
  }
  if (!file.url) return el("span", { class: "file" }, icon("file"), words(file));
  const target = { href: file.url, download: file.name || name, title: `Download ${name}` };
  return el("a", { class: "file", ...target }, icon("file"), el("span", { class: "sr" }, "Download "), words(file), icon("end"));
}

function words(file) {
  const about = [file.pretty_type, Number.isFinite(file.size) ? size(file.size) : ""].filter(Boolean).join(" · ");
  return [el("span", { class: "name" }, label(file)), about ? el("span", { class: "size" }, about) : null];
}

function carries(event) {
  return Boolean(event.dataTransfer?.types.includes("Files"));
}

// A file that misses the place for it must not make the browser leave the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!carries(event) || event.defaultPrevented) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  });
}

/** Files chosen, dropped or pasted for the next message. */
export class Attachments {
  /** `most()` bytes may be in a file; `complain(text)` says why one is not taken. */
  constructor({ most, complain }) {
    this.most = most;
    this.complain = complain;
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
      this.choose([...this.input.files]);
      this.input.value = "";
    });
  }

  /** Take files that somebody picked, and say so; those that cannot be sent are refused in words. */
  choose(files, folders = []) {
    const good = files.filter((file) => file.size <= this.most());
    const refused = files.filter((file) => file.size > this.most()).map((file) => `${file.name} has ${size(file.size)}`);
    const limit = `a file may have ${Math.floor(this.most() / 2 ** 20)} MB here`;
    const problems = [
      refused.length ? `${refused.join(", ")}; ${limit}.` : "",
      folders.length ? "Folders cannot be attached, only files." : "",
    ];
    this.complain(problems.filter(Boolean).join(" "));
    this.add(good);
    if (good.length) speak(`Attached ${good.map((file) => file.name).join(", ")}`);
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
      const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
      const files = items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile());
      this.choose(files.filter(Boolean), folders);
      done();
    });
    zone.addEventListener("paste", (event) => {
      const { files = [], types = [] } = event.clipboardData ?? {};
      // Cells and paragraphs come as text and as a picture of it: the text is meant.
      if (!files.length || (types.includes("text/plain") && types.includes("text/html"))) return;
      event.preventDefault();
      this.choose([...files]);
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
        speak(`Removed ${file.name}`);
      });
      const name = el("span", { class: "name" }, file.name);
      return el("li", { class: "file" }, icon("file"), name, el("span", { class: "size" }, size(file.size)), remove);
    };
    this.node.replaceChildren(...this.files.map(item));
    this.node.hidden = !this.files.length;
  }
}
