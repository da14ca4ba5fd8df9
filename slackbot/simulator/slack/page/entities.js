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
  if (kind === "date") return el("span", {}, label ?? "");
  return el("span", { class: "mention loud" }, label ?? `@${kind}`);
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
