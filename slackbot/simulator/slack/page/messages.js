/** One message, and rows of messages, as DOM nodes. */

import { renderBody } from "./blocks.js";
import { el, icon } from "./dom.js";
import { emoji } from "./entities.js";

const TOGETHER_SECONDS = 300;
const CLOCK = new Intl.DateTimeFormat([], { hour: "numeric", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

/**
 * Rows for `patchRows`: messages, with a divider where a day begins (but none above a thread).
 * `extra(message)` adds {signature, nodes} below one.
 */
export function rows(messages, context, extra = () => ({ signature: "", nodes: () => [] })) {
  let before = null;
  return messages.flatMap((message) => {
    const added = extra(message);
    const newDay = before ? day(message) !== day(before) : !context.inThread;
    const follows = !newDay && together(before, message);
    before = message;
    const author = context.directory.users.get(message.user)?.name;
    const row = {
      key: message.ts,
      signature: [message.revision, follows, author, context.directory.me, added.signature].join("|"),
      render: () => renderMessage(message, follows, added.nodes(), context),
    };
    return newDay ? [dayRow(message), row] : [row];
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
  const whisper = message.ephemeral_to ? el("p", { class: "note" }, icon("eye"), "Only visible to you") : null;
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
    follows ? el("span", { class: "gutter" }, time(message)) : avatar(user),
    el("div", { class: "content" }, whisper, byline, body, files(message), reactions(message, directory), below),
    tools(message, context),
  );
}

function time(message) {
  const at = new Date(Number(message.ts) * 1000);
  const place = `#${message.channel}/${message.thread_ts ?? message.ts}`;
  const clock = el("time", { datetime: at.toISOString() }, CLOCK.format(at));
  return el("a", { class: "time", href: place, title: FULL.format(at) }, clock);
}

function tools(message, { directory, inThread }) {
  if (message.ephemeral_to) return null;
  const target = { type: "button", "data-channel": message.channel, "data-ts": message.ts };
  const tool = (deed, sign, label) =>
    el("button", { ...target, "data-do": deed, title: label, "aria-label": label }, icon(sign));
  const mine = message.user === directory.me;
  const buttons = [
    inThread ? null : tool("thread", "thread", "Reply in thread"),
    mine ? tool("edit", "edit", "Edit message") : null,
    mine ? tool("delete", "delete", "Delete message") : null,
  ];
  return buttons.some(Boolean) ? el("div", { class: "tools" }, buttons) : null;
}

function files(message) {
  if (!message.files?.length) return null;
  const chip = (file) => {
    const name = file.title || file.name || "file";
    const url = file.permalink ?? file.url_private;
    const content = [icon("file"), name];
    if (!url) return el("span", { class: "file" }, content);
    return el("a", { class: "file", href: url, target: "_blank", rel: "noopener noreferrer" }, content);
  };
  return el("div", { class: "files" }, message.files.map(chip));
}

function reactions(message, directory) {
  const all = Object.entries(message.reactions ?? {}).filter(([, users]) => users.length);
  if (!all.length) return null;
  const pill = ([name, users]) => {
    const who = users.map((id) => directory.users.get(id)?.name ?? id).join(", ");
    const style = users.includes(directory.me) ? "reaction mine" : "reaction";
    return el("span", { class: style, title: `${who}: ${name}` }, `${emoji(name)} ${users.length}`);
  };
  return el("div", { class: "reactions" }, all.map(pill));
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

function together(before, message) {
  if (!before || before.deleted || before.user !== message.user || before.username !== message.username) return false;
  return !message.ephemeral_to && !before.ephemeral_to && message.ts - before.ts < TOGETHER_SECONDS;
}
