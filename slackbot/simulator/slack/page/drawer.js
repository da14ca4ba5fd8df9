/** "What the bot does": the live traffic, and switches for troubles. */

import { act } from "./api.js";
import { el, patchChildren } from "./dom.js";
import { Pane } from "./pane.js";

const KINDS = { event: "Slack → bot", call: "bot → Slack", request: "bot → Noxus" };
const CLOCK = new Intl.DateTimeFormat([], { timeStyle: "medium", hourCycle: "h23" });
const KEY = "slack-simulator/drawer";

const $ = (id) => document.getElementById(id);

export class Drawer {
  constructor({ workspace, toast }) {
    this.workspace = workspace;
    this.toast = toast;
    this.hidden = new Set();
    this.pane = new Pane($("traffic-scroll"), $("traffic"), $("traffic-more"));
    this.waiting = false;
    $("switches").addEventListener("change", ({ target }) => this.turn({ id: target.value, on: target.checked }));
    $("all-off").addEventListener("click", () => this.turn({ id: "clear" }));
    $("kinds").addEventListener("click", ({ target }) => this.filter(target.dataset.kind));
    this.open(sessionStorage.getItem(KEY) === "open");
  }

  get shown() {
    return !$("drawer").hidden;
  }

  open(open) {
    $("drawer").hidden = !open;
    $("drawer-button").setAttribute("aria-expanded", String(open));
    sessionStorage.setItem(KEY, open ? "open" : "closed");
    if (open) this.drawNow();
  }

  filter(kind) {
    if (!kind) return;
    if (!this.hidden.delete(kind)) this.hidden.add(kind);
    this.drawNow();
  }

  async turn(change) {
    const { switches } = this.workspace;
    const turn = (id, on) => switches.set(id, { ...switches.get(id), on });
    if (switches.has(change.id)) turn(change.id, change.on);
    try {
      await act("switch", change);
    } catch (error) {
      if (switches.has(change.id)) turn(change.id, !change.on);
      this.toast(error.message);
    }
    this.draw();
  }

  /** Draw soon, and once, however many lines come. */
  draw() {
    const on = [...this.workspace.switches.values()].filter((it) => it.on).length;
    $("drawer-button").classList.toggle("troubled", on > 0);
    if (!this.shown || this.waiting) return;
    this.waiting = true;
    setTimeout(() => {
      this.waiting = false;
      this.drawNow();
    }, 60);
  }

  drawNow() {
    // A request under way stays in sight, below what came after it.
    const running = ({ kind, state }) => kind === "request" && state === "open";
    const all = [...this.workspace.traffic.values()];
    const lines = [...all.filter((line) => !running(line)), ...all.filter(running)];
    const counts = lines.reduce((sum, { kind }) => ({ ...sum, [kind]: (sum[kind] ?? 0) + 1 }), {});
    const toggle = ([kind, label]) =>
      el(
        "button",
        { type: "button", class: `kind ${kind}`, "data-kind": kind, "aria-pressed": String(!this.hidden.has(kind)) },
        `${label} ${counts[kind] ?? 0}`,
      );
    const present = Object.entries(KINDS).filter(([kind]) => kind !== "request" || counts.request || this.hasNoxus());
    patchChildren($("kinds"), present.map(toggle));
    this.pane.show("traffic", lines.filter(({ kind }) => !this.hidden.has(kind)).map(row));
    $("quiet").hidden = lines.length > 0;
    patchChildren($("switches"), [...this.workspace.switches.values()].map(switchRow));
    for (const box of $("switches").querySelectorAll("input")) box.checked = this.workspace.switches.get(box.value).on;
  }

  hasNoxus() {
    return this.workspace.scripted;
  }
}

function row(line) {
  const render = () =>
    el(
      "li",
      { class: `line ${line.kind} ${line.state}` },
      el("time", {}, CLOCK.format(line.at * 1000)),
      el("span", { class: `kind ${line.kind}` }, KINDS[line.kind]),
      el("span", { class: "what", title: line.what }, line.what),
      el("span", { class: "more-about", title: line.more }, line.more),
      el("span", { class: "used" }, line.allowed ? meter(line) : null),
      el("span", { class: "outcome" }, line.outcome),
    );
  return { key: `${line.at.toFixed(4)} ${line.key}`, signature: JSON.stringify(line), render };
}

function meter({ used, allowed }) {
  const label = `${used} of ${allowed} allowed calls used`;
  const gauge = el("meter", { min: 0, max: allowed, high: allowed * 0.8, optimum: 0, value: used, "aria-label": label, title: label });
  return [gauge, `${used}/${allowed}`];
}

function switchRow({ id, label, on }) {
  return el("li", {}, el("label", { class: "choice" }, el("input", { type: "checkbox", role: "switch", value: id, checked: on }), label));
}
