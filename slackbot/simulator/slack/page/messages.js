/** One message, and rows of messages, as DOM nodes. */

import { renderBody } from "./blocks.js";
import { el, icon } from "./dom.js";
import { shared } from "./files.js";
import { address } from "./places.js";
import { reactions } from "./reactions.js";

const TOGETHER_SECONDS = 300;
const CLOCK = new Intl.DateTimeFormat([], { hour: "numeric", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

/**
 * Rows for `patchRows`: messages, with a divider where a day begins (but none above a thread), and one above the first
 * message of others after `context.since`. `extra(message)` adds {signature, nodes} below one.
 */
export function rows(messages, context, extra = () => ({ signature: "", nodes: () => [] })) {
  let before = null;
  const { me } = context.directory;
  const news = context.since && messages.find(({ ts, user }) => ts > context.since && user !== me);
  return messages.flatMap((message) => {
    const added = extra(message);
    const newDay = before ? day(message) !== day(before) : !context.inThread;
    const follows = !newDay && message !== news && together(before, message);
    before = message;
    const author = context.directory.users.get(message.user)?.name;
    const row = {
      key: message.ts,
      signature: [message.revision, follows, author, me, context.directory.shortcuts.length, added.signature].join("|"),
      render: () => renderMessage(message, follows, added.nodes(), context),
    };
    return [newDay ? dayRow(message) : null, message === news ? NEWS : null, row].filter(Boolean);
  });
}

export function avatar(user, size = "") {
  const words = (user?.name ?? "?").match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const initials = words.slice(0, 2).map((word) => [...word][0]).join("").toUpperCase();
  const style = `avatar tone-${user?.tone ?? 0} ${size} ${user?.is_bot ? "bot" : ""}`.trim();
  return el("span", { class: style, "aria-hidden": "true" }, initials);
}

export function clock(ts) {
  return CLOCK.format(Number(ts) * 1000);
}

/** "2 files", "1 reply". */
export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

function renderMessage(message, follows, below, context) {
  const { directory } = context;
  if (message.deleted) {
    const gone = el("div", { class: "content" }, el("p", { class: "gone" }, "This message was deleted."), below);
    return el("li", { class: "message" }, el("span", { class: "avatar none", "aria-hidden": "true" }), gone);
  }
  const user = directory.users.get(message.user);
  const name = message.username || user?.name || message.user;
  const whisper = message.ephemeral_to ? whisperNote(message) : broadcastNote(message, context);
  const edited = message.edited ? el("span", { class: "edited" }, "(edited)") : null;
  const byline = el(
    "div",
    { class: follows ? "byline sr" : "byline" },
    el("span", { class: "name" }, name),
    user?.is_bot ? el("span", { class: "badge" }, "APP") : null,
    follows ? null : time(message),
  );
  const body = el("div", { class: "body" }, renderBody(message, directory), edited);
  const kinds = ["message", follows && "follows", message.ephemeral_to && "whisper", user?.is_bot && "from-bot"];
  return el(
    "li",
    { class: kinds.filter(Boolean).join(" ") },
    follows ? el("span", { class: "gutter" }, time(message)) : avatar(directory.users.get(message.face) ?? { ...user, name }),
    el("div", { class: "content" }, whisper, byline, body, shared(message.files), reactions(message, directory), below),
    tools(message, context),
  );
}

function time(message) {
  const at = new Date(Number(message.ts) * 1000);
  const clock = el("time", { datetime: at.toISOString() }, CLOCK.format(at));
  return el("a", { class: "time", href: address(message), title: FULL.format(at) }, clock);
}

function whisperNote({ channel, ts }) {
  const target = { type: "button", class: "plain", "data-do": "dismiss", "data-channel": channel, "data-ts": ts };
  return el("p", { class: "note" }, icon("eye"), "Only visible to you", el("button", target, "Dismiss"));
}

/** Where a reply that was sent to the channel too has its other place. */
function broadcastNote(message, { inThread }) {
  if (!message.broadcast) return null;
  if (inThread) return el("p", { class: "note quiet" }, icon("thread"), "Also sent to the channel");
  const target = { "data-do": "thread", "data-channel": message.channel, "data-ts": message.thread_ts };
  const button = el("button", { type: "button", class: "plain", ...target }, "replied to a thread");
  return el("p", { class: "note quiet" }, icon("thread"), button);
}

function tools(message, { directory, inThread }) {
  if (message.ephemeral_to) return null;
  const target = { type: "button", "data-channel": message.channel, "data-ts": message.ts };
  const tool = (deed, sign, label) =>
    el("button", { ...target, "data-do": deed, title: label, "aria-label": label }, icon(sign));
  const mine = message.user === directory.me;
  const buttons = [
    tool("pick", "smile", "Add reaction"),
    inThread || message.thread_ts ? null : tool("thread", "thread", "Reply in thread"),
    tool("link", "link", "Copy link"),
    mine ? tool("edit", "edit", "Edit message") : null,
    mine ? tool("delete", "delete", "Delete message") : null,
    directory.shortcuts.length ? tool("shortcuts", "more", "More actions") : null,
  ];
  return el("div", { class: "tools" }, buttons);
}

function day(message) {
  return new Date(Number(message.ts) * 1000).toDateString();
}

function dayRow(message) {
  const at = new Date(Number(message.ts) * 1000);
  const today = new Date();
  const days = Math.round((new Date(today.toDateString()) - new Date(at.toDateString())) / 86_400_000);
  const label = ["Today", "Yesterday"][days] ?? DAY.format(at);
  const render = () => el("li", { class: "day" }, el("span", {}, label));
  return { key: `day ${at.toDateString()}`, signature: label, render };
}

const NEWS = {
  key: "news",
  signature: "",
  render: () => el("li", { class: "day news" }, el("span", {}, "New")),
};

function together(before, message) {
  if (!before || before.deleted || before.user !== message.user || before.username !== message.username) return false;
  return !message.ephemeral_to && !before.ephemeral_to && message.ts - before.ts < TOGETHER_SECONDS;
}
