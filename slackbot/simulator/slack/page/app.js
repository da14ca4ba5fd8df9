/** The page: where one is, and what is drawn when the workspace changes. */

import { act, follow, upload } from "./api.js";
import { Composer } from "./composer.js";
import { deedsOf } from "./deeds.js";
import { Drawer } from "./drawer.js";
import { el } from "./dom.js";
import { refreshDates } from "./entities.js";
import { Modals } from "./modals.js";
import { Pane } from "./pane.js";
import { addressOf, parse } from "./places.js";
import { Reads } from "./reads.js";
import { Workspace } from "./state.js";
import { directory, drawChannel, drawSidebar, drawThread } from "./views.js";
import { announce } from "./voice.js";

const DATES_MILLISECONDS = 15_000;
const LOADING_MILLISECONDS = 1000;
const TOAST_MILLISECONDS = 6000;
const FLASH = [{ background: "var(--loud-soft)" }, { background: "transparent" }];
const PLAYER_KEY = "slack-simulator/me"; // per tab, so that two tabs can be two people

const $ = (id) => document.getElementById(id);
const workspace = new Workspace();
// `since` and `threadSince` are how far one had read before coming here; `target` is a message to go to.
const here = { me: "", channel: "", thread: "", since: "", threadSince: "", target: "" };
const app = {
  workspace,
  here,
  reads: null,
  main: new Pane($("main-scroll"), $("main-list"), $("main-more")),
  thread: new Pane($("thread-scroll"), $("thread-list"), $("thread-more")),
  mainComposer: new Composer("main-composer", {
    send: (message) => say(message, ""),
    people,
    zone: $("main"),
    most: () => workspace.uploadBytes,
  }),
  threadComposer: new Composer("thread-composer", {
    send: (message) => say(message, here.thread),
    people,
    zone: $("thread"),
    most: () => workspace.uploadBytes,
  }),
  drawer: new Drawer({ workspace, toast }),
  modals: new Modals({ person: () => here.me, toast }),
  go,
  become,
  focusThread,
  draw,
  toast,
};
const deeds = deedsOf(app);
const mine = new Set(); // roots written here whose thread has not opened yet
let drawing = false;

$("main-composer-slot").replaceWith(app.mainComposer.node);
$("thread-composer-slot").replaceWith(app.threadComposer.node);

follow({
  onState(state) {
    const first = !app.reads;
    workspace.load(state);
    app.reads ??= new Reads(workspace.team.id);
    const known = [here.me, sessionStorage.getItem(PLAYER_KEY)].find((id) => state.me.includes(id));
    here.me = known ?? state.me[0];
    $("lost").hidden = true;
    $("app").hidden = false;
    visit();
    app.drawer.draw();
    if (first && !window.matchMedia("(pointer: coarse)").matches) app.mainComposer.focus();
  },
  onEvent(event) {
    workspace.apply(event);
    if (event.type === "line" || event.type === "switch") {
      app.drawer.draw();
      return;
    }
    // A conversation made here may be gone to before it is known.
    if (event.type === "channel" && event.id === parse(location.hash).channel) visit();
    openOwnThread(event);
    announce(event, app);
    draw();
  },
  onLost() {
    $("lost").hidden = false;
  },
});

// -- places -----------------------------------------------------------------------------------------------------------

/** Go where the address says. */
function visit() {
  const { channel, root, target } = parse(location.hash);
  const { rooms, direct } = workspace.places(here.me);
  const place = [...rooms, ...direct].find((entry) => entry.id === channel) ?? rooms[0] ?? direct[0];
  const before = { ...here };
  here.channel = place?.id ?? "";
  here.thread = (place?.id === channel && root) || "";
  here.target = target;
  const moved = before.me !== here.me || before.channel !== here.channel;
  if (moved) here.since = readBefore(here.channel, workspace.view(here.channel, here.me).top);
  if (moved || before.thread !== here.thread) {
    const replies = workspace.view(here.channel, here.me).threads.get(here.thread) ?? [];
    here.threadSince = readBefore(`${here.channel}/${here.thread}`, replies);
  }
  draw();
}

/** How far one had read a place where there is something new; "" where there is nothing. */
function readBefore(place, messages) {
  const upTo = app.reads.upTo(here.me, place);
  return messages.some(({ ts, user }) => ts > upTo && user !== here.me) ? upTo : "";
}

function go(channel, root = "") {
  const hash = root ? `#${channel}/${root}` : `#${channel}`;
  if (hash !== location.hash) history.pushState(null, "", hash);
  visit();
}

function become(user) {
  here.me = user;
  here.channel = "";
  sessionStorage.setItem(PLAYER_KEY, user);
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

async function say({ text, files, broadcast }, root) {
  const { channel, me } = here;
  const ids = await Promise.all(files.map((file) => upload(me, file)));
  const thread = root ? { thread_ts: root, broadcast } : {};
  const { ts } = await act("say", { user: me, channel, text, files: ids, ...thread });
  if (root) {
    app.thread.toEnd();
    return;
  }
  app.main.toEnd();
  mine.add(`${channel}/${ts}`);
  // The bot may have been faster than the answer to our request.
  const answered = workspace.view(channel, me).threads.has(ts) || workspace.status(channel, ts).text;
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

async function perform(deed, node) {
  try {
    await deeds[deed](node.dataset, node);
  } catch (error) {
    toast(error.message);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const place = link && addressOf(link.href);
  if (place && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    location.hash = place;
    return;
  }
  const target = event.target.closest("[data-do]");
  if (target) perform(target.dataset.do, target);
});

document.addEventListener("change", ({ target }) => {
  if (!target.matches("select[data-choose]") || !target.value) return;
  target.dataset.value = target.value;
  perform("press", target);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open], [popover]:popover-open")) return;
  if (app.drawer.shown && $("drawer").contains(document.activeElement)) {
    app.drawer.open(false);
    $("drawer-button").focus();
  } else if (here.thread) deeds.close();
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
  app.modals.draw(workspace.modals.get(here.me) ?? [], directory(app));
  if (here.target) showTarget();
}

/** Bring the message that the address names into view. */
function showTarget() {
  const pane = here.thread ? app.thread : app.main;
  const node = pane.list.querySelector(`[data-key="${CSS.escape(here.target)}"]`);
  here.target = "";
  if (!node) return;
  pane.atEnd = false;
  node.scrollIntoView({ block: "center" });
  node.animate(FLASH, { duration: 2500, easing: "ease-in" });
}

function markRead() {
  if (document.hidden) return;
  const { top, threads } = workspace.view(here.channel, here.me);
  if (top.length) app.reads.mark(here.me, here.channel, top.at(-1).ts);
  const replies = threads.get(here.thread);
  if (replies) app.reads.mark(here.me, `${here.channel}/${here.thread}`, replies.at(-1).ts);
}

document.addEventListener("visibilitychange", () => app.reads && draw());
setInterval(() => workspace.loading && draw(), LOADING_MILLISECONDS);
setInterval(refreshDates, DATES_MILLISECONDS);
