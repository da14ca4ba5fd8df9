/** For screen readers: what was written where one is, once it has stopped growing. */

import { label } from "./files.js";

const SETTLED_MILLISECONDS = 1500;
const SPOKEN_CHARACTERS = 240;

let speaking = 0;

/** Say at once what somebody just did here. */
export function speak(text) {
  document.getElementById("voice").textContent = text;
}

/** Say what was written in the open thread (or channel, where none is open). */
export function announce(event, { here, workspace }) {
  if (event.channel !== here.channel || (event.thread_ts ?? "") !== here.thread || event.user === here.me) return;
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (event.deleted) return;
    const voice = document.getElementById("voice");
    if (event.type === "status") {
      voice.textContent = workspace.status(here.channel, here.thread).text;
      return;
    }
    const shown = document.querySelector(`[data-key="${CSS.escape(event.ts)}"] .body`);
    const words = [(shown?.textContent ?? event.text).slice(0, SPOKEN_CHARACTERS), ...event.files.map(label)];
    voice.textContent = `${event.username}: ${words.filter(Boolean).join(", ")}`;
  }, SETTLED_MILLISECONDS);
}
