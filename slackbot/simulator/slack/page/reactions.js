/** Reactions below a message, and the choice of one. */

import { el, icon } from "./dom.js";
import { emoji } from "./entities.js";
import { offer } from "./menu.js";

const OFFERED = [
  "+1", "-1", "eyes", "white_check_mark", "heart", "tada", "joy", "thinking_face",
  "pray", "clap", "rocket", "fire", "wave", "warning", "x", "hourglass_flowing_sand",
];

export function reactions(message, directory) {
  const all = Object.entries(message.reactions ?? {}).filter(([, users]) => users.length);
  if (!all.length) return null;
  const target = { type: "button", "data-channel": message.channel, "data-ts": message.ts };
  const pill = ([name, users]) => {
    const who = users.map((id) => directory.users.get(id)?.name ?? id).join(", ");
    const mine = users.includes(directory.me);
    const state = { "aria-pressed": String(mine), "aria-label": `${name}, ${users.length}: ${who}`, title: `${who}: ${name}` };
    const style = mine ? "reaction mine" : "reaction";
    const deed = { "data-do": "react", "data-name": name, "data-added": String(!mine) };
    return el("button", { ...target, class: style, ...deed, ...state }, `${emoji(name)} ${users.length}`);
  };
  const label = { "aria-label": "Add reaction", title: "Add reaction" };
  const more = el("button", { ...target, class: "reaction", "data-do": "pick", ...label }, icon("smile"));
  return el("div", { class: "reactions" }, all.map(pill), more);
}

/** Let somebody choose a reaction; resolves to its name, or null. */
export function pick(anchor) {
  const items = OFFERED.map((name) => ({ value: name, label: name, content: emoji(name) }));
  return offer(anchor, "Reactions", items, "grid");
}
