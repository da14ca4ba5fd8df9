/** The page: where one is, what happens when something is pressed, and when the workspace changes. */

import { act, follow } from "./api.js";
import { Composer } from "./composer.js";
import { ask, editText } from "./dialogs.js";
import { el } from "./dom.js";
import { decode } from "./entities.js";
import { Pane } from "./pane.js";
import { Reads } from "./reads.js";
import { Workspace } from "./state.js";
import { drawChannel, drawSidebar, drawThread } from "./views.js";

const SETTLED_MILLISECONDS = 1500;
const SPOKEN_CHARACTERS = 240;
const TOAST_MILLISECONDS = 6000;
const PLAYER_KEY = "slack-simulator/me"; // per tab, so that two tabs can be two people

const $ = (id) => document.getElementById(id);
const app = {
  workspace: new Workspace(),
  reads: null,
  here: { me: "", channel: "", thread: "" },
  main: new Pane($("main-scroll"), $("main-list"), $("main-more")),
  thread: new Pane($("thread-scroll"), $("thread-list"), $("thread-more")),
  mainComposer: new Composer("main-composer", { send: (text) => say(text, ""), people }),
  threadComposer: new Composer("thread-composer", { send: (text) => say(text, app.here.thread), people }),
};
const { workspace, here } = app;
const mine = new Set(); // roots written here whose thread has not opened yet
let drawing = false;
let speaking = 0;

$("main-composer-slot").replaceWith(app.mainComposer.node);
$("thread-composer-slot").replaceWith(app.threadComposer.node);

follow({
  onState(state) {
    const first = !app.reads;
    workspace.load(state);
    app.reads ??= new Reads(workspace.team.id);
    const players = state.me;
    const known = [here.me, sessionStorage.getItem(PLAYER_KEY)].find((id) => players.includes(id));
    here.me = known ?? players[0];
    $("lost").hidden = true;
    $("app").hidden = false;
    visit();
    if (first && !window.matchMedia("(pointer: coarse)").matches) app.mainComposer.focus();
  },
  onEvent(event) {
    workspace.apply(event);
    openOwnThread(event);
    announce(event);
    draw();
  },
  onLost() {
    $("lost").hidden = false;
  },
});

// -- places -----------------------------------------------------------------------------------------------------------

/** Go where the address says: `#channel` or `#channel/root`. */
function visit() {
  const [channel, root] = decodeURIComponent(location.hash.slice(1)).split("/");
  const { rooms, direct } = workspace.places(here.me);
  const place = [...rooms, ...direct].find((entry) => entry.id === channel) ?? rooms[0] ?? direct[0];
  here.channel = place?.id ?? "";
  here.thread = (place?.id === channel && root) || "";
  draw();
}

function go(channel, root = "") {
  const hash = root ? `#${channel}/${root}` : `#${channel}`;
  if (hash !== location.hash) history.pushState(null, "", hash);
  visit();
}

/** Who can be mentioned here, the bot first. */
function people() {
  const members = workspace.channels.get(here.channel)?.members ?? [];
  const all = members.map((id) => workspace.users.get(id)).filter((user) => user && user.id !== here.me);
  return all.sort((a, b) => (b.id === workspace.bot?.id) - (a.id === workspace.bot?.id));
}

window.addEventListener("popstate", visit);

// -- deeds ------------------------------------------------------------------------------------------------------------

async function say(text, root) {
  const { channel, me } = here;
  const { ts } = await act("say", { user: me, channel, text, ...(root ? { thread_ts: root } : {}) });
  if (root) {
    app.thread.toEnd();
    return;
  }
  app.main.toEnd();
  mine.add(`${channel}/${ts}`);
  // The bot may have been faster than the answer to our request.
  const answered = workspace.view(channel, me).threads.has(ts) || workspace.status(channel, ts);
  if (answered) openOwnThread({ channel, thread_ts: ts, user: workspace.bot?.id });
}

/** A thread opens by itself when the bot begins to answer what was just written here. */
function openOwnThread({ channel, thread_ts: root, status, user }) {
  const answering = status || user === workspace.bot?.id;
  if (!answering || channel !== here.channel || !mine.delete(`${channel}/${root}`)) return;
  const free = app.mainComposer.focused && app.mainComposer.empty;
  go(channel, root);
  if (free) focusThread();
}

/** The pane must be drawn before it can take the focus. */
function focusThread() {
  drawNow();
  app.threadComposer.focus();
}

const deeds = {
  channel({ channel }) {
    go(channel);
    app.mainComposer.focus();
  },
  thread({ channel, ts }) {
    go(channel, ts);
    focusThread();
  },
  close() {
    go(here.channel);
    app.mainComposer.focus();
  },
  player({ user }) {
    here.me = user;
    sessionStorage.setItem(PLAYER_KEY, user);
    visit();
  },
  fill: ({ text }) => app.mainComposer.fill(text),
  async press({ channel, ts, action, value, confirm, yes }, button) {
    if (confirm && !(await ask(confirm, yes ?? "Yes"))) return;
    button.disabled = true;
    try {
      await act("press", { user: here.me, channel, ts, action_id: action, value: value ?? null });
      if (button.classList.contains("feedback")) button.setAttribute("aria-pressed", "true");
    } finally {
      button.disabled = false;
    }
  },
  async edit({ channel, ts }) {
    const before = decode(workspace.find(channel, ts).text, workspace);
    const text = await editText("Edit message", before);
    if (text !== null && text !== before) await act("edit", { user: here.me, channel, ts, text });
  },
  async delete({ channel, ts }) {
    if (await ask("Delete this message?", "Delete")) await act("delete", { user: here.me, channel, ts });
  },
};

document.addEventListener("click", async (event) => {
  const target = event.target.closest("[data-do]");
  if (!target) return;
  try {
    await deeds[target.dataset.do](target.dataset, target);
  } catch (error) {
    toast(error.message);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && here.thread && !document.querySelector("dialog[open]")) deeds.close();
});

function toast(text) {
  const note = el("p", { role: "alert" }, text);
  $("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MILLISECONDS);
}

// -- drawing ----------------------------------------------------------------------------------------------------------

/** Draw once before the next frame, however much has changed. A hidden page has no frames. */
function draw() {
  if (drawing) return;
  drawing = true;
  if (document.hidden) setTimeout(drawNow);
  else requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = false;
  const channel = workspace.channels.get(here.channel);
  if (!channel) return;
  markRead();
  drawSidebar(app);
  drawChannel(app, channel);
  drawThread(app, channel);
}

function markRead() {
  if (document.hidden) return;
  const { top, threads } = workspace.view(here.channel, here.me);
  if (top.length) app.reads.mark(here.me, here.channel, top.at(-1).ts);
  const replies = threads.get(here.thread);
  if (replies) app.reads.mark(here.me, `${here.channel}/${here.thread}`, replies.at(-1).ts);
}

document.addEventListener("visibilitychange", () => app.reads && draw());

// -- for screen readers -----------------------------------------------------------------------------------------------

/** Say what was written in the open thread (or channel, where none is open), once it has stopped growing. */
function announce(event) {
  if (event.channel !== here.channel || (event.thread_ts ?? "") !== here.thread || event.user === here.me) return;
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (event.deleted) return;
    if (event.type === "status") {
      $("voice").textContent = workspace.status(here.channel, here.thread);
      return;
    }
    const shown = document.querySelector(`[data-key="${CSS.escape(event.ts)}"] .body`);
    $("voice").textContent = `${event.username}: ${(shown?.textContent ?? event.text).slice(0, SPOKEN_CHARACTERS)}`;
  }, SETTLED_MILLISECONDS);
}
