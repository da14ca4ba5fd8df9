/** Slack's `<…>` entities and `:emoji:` names (https://docs.slack.dev/messaging/formatting-message-text). */

import { el } from "./dom.js";

const EMOJI = {
  "+1": "👍", "-1": "👎", thumbsup: "👍", thumbsdown: "👎", wave: "👋", eyes: "👀", tada: "🎉", rocket: "🚀",
  heart: "❤️", fire: "🔥", bulb: "💡", memo: "📝", warning: "⚠️", x: "❌", white_check_mark: "✅",
  heavy_check_mark: "✔️", robot_face: "🤖", thinking_face: "🤔", smile: "😄", slightly_smiling_face: "🙂", joy: "😂",
  cry: "😢", pray: "🙏", clap: "👏", raised_hands: "🙌", point_right: "👉", hourglass_flowing_sand: "⏳", mag: "🔍",
  link: "🔗", paperclip: "📎", lock: "🔒", bell: "🔔", no_entry: "⛔", octagonal_sign: "🛑", arrow_right: "➡️",
  sparkles: "✨", star: "⭐", ok_hand: "👌", speech_balloon: "💬", zzz: "💤",
};

/** `:name:` as its sign where the page knows it. */
export function emoji(name) {
  return EMOJI[name] ?? `:${name}:`;
}

export function withEmoji(text) {
  return text.replace(/:([a-z0-9_+-]+):/g, (all, name) => EMOJI[name] ?? all);
}

/** The inside of `<@U…>`, `<#C…|name>` or `<!here>` as a pill. */
export function entity(source, directory) {
  const [id, label] = source.slice(1).split("|");
  if (source[0] === "@") {
    const name = directory.users.get(id)?.name ?? label ?? id;
    return el("span", { class: id === directory.me ? "mention me" : "mention" }, `@${name}`);
  }
  if (source[0] === "#") return el("span", { class: "mention" }, `#${directory.channels.get(id)?.name ?? label ?? id}`);
  const [kind] = id.split("^");
  if (kind === "date") return dated(source.split("|")[0].split("^"), label ?? "");
  return el("span", { class: "mention loud" }, label ?? `@${kind}`);
}

const SHORT = { month: "short", day: "numeric", year: "numeric" };
const LONG = { weekday: "long", month: "long", day: "numeric", year: "numeric" };
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** `!date^seconds^tokens^link|fallback` as each reader's clock and calendar tell it. */
function dated([, seconds, tokens], fallback) {
  const at = new Date(Number(seconds) * 1000);
  if (Number.isNaN(at.getTime()) || !tokens) return el("span", {}, fallback);
  const node = el("time", { datetime: at.toISOString(), title: fallback, "data-tokens": tokens });
  node.textContent = told(at, tokens);
  return node;
}

/** Let every shown date tell the time that has passed by now. */
export function refreshDates() {
  for (const node of document.querySelectorAll("time[data-tokens]")) {
    node.textContent = told(new Date(node.dateTime), node.dataset.tokens);
  }
}

function told(at, tokens) {
  const written = (options) => new Intl.DateTimeFormat("en", options).format(at);
  const days = Math.round((new Date(at.toDateString()) - new Date(new Date().toDateString())) / 86_400_000);
  const near = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
  return tokens.replace(/\{(\w+)\}/g, (all, token, offset) => {
    if (token === "ago") return ago(at);
    if (token === "time") return written({ timeStyle: "short" });
    if (token === "time_secs") return written({ timeStyle: "medium" });
    if (token === "date_num") return at.toLocaleDateString("sv");
    const [, size, pretty] = /^date(_short|_long)?(_pretty)?$/.exec(token) ?? [];
    if (pretty && near) return offset ? near : near[0].toUpperCase() + near.slice(1);
    if (!token.startsWith("date")) return all;
    return written(size === "_short" ? SHORT : size === "_long" ? LONG : { ...SHORT, month: "long" });
  });
}

function ago(at) {
  const passed = Math.max(0, (Date.now() - at) / 1000);
  const [unit, seconds] = UNITS.find(([, length]) => passed >= length) ?? [];
  if (!unit) return "less than a minute ago";
  const many = Math.floor(passed / seconds);
  return `${many} ${unit}${many === 1 ? "" : "s"} ago`;
}

export function unescape(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** A stored text as its author typed it, for editing; `names` has the maps `users` and `channels`. */
export function decode(text, names) {
  return unescape(text.replace(/<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>/g, (all, sign, id, label) => {
    if (sign === "@") return `@${names.users.get(id)?.name ?? label ?? id}`;
    if (sign === "#") return `#${names.channels.get(id)?.name ?? label ?? id}`;
    return sign === "!" ? `@${id}` : id;
  }));
}
