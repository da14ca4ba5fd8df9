/** What stands where: the sidebar, the channel, the thread. */

import { el, icon, patchChildren } from "./dom.js";
import { avatar, clock, count, rows } from "./messages.js";

const FACES = 4;

const $ = (id) => document.getElementById(id);

const LOADING_MILLISECONDS = 3000;

export function drawSidebar({ workspace, reads, here }) {
  const { rooms, direct } = workspace.places(here.me);
  let waiting = 0;
  const entry = (channel) => {
    const { count: fresh, loud } = reads.unread(workspace, channel, here.me);
    waiting += loud;
    const attributes = {
      type: "button",
      class: fresh ? "place fresh" : "place",
      "data-do": "channel",
      "data-channel": channel.id,
      "aria-current": channel.id === here.channel ? "page" : null,
    };
    const label = el("span", { class: "label" }, workspace.title(channel, here.me));
    return el("li", {}, el("button", attributes, placeSign(workspace, channel, here.me), label, badge(loud)));
  };
  patchChildren($("rooms"), rooms.map(entry));
  patchChildren($("direct"), direct.map(entry));
  patchChildren($("players"), workspace.players.map((user) => playerButton(user, here.me)));
  $("team").textContent = workspace.team.name;
  document.title = `${waiting ? `(${waiting}) ` : ""}${workspace.team.name}, a simulated Slack`;
}

export function drawChannel(app, channel) {
  const { workspace, here } = app;
  const bot = channel.members.includes(workspace.bot?.id) ? workspace.bot : null;
  const alone = channel.kind === "im" && bot;
  const title = workspace.title(channel, here.me);
  const named = workspace.isDirect(channel) ? title : `#${title}`;
  const { top, threads } = workspace.view(channel.id, here.me);
  $("main-title").textContent = workspace.isDirect(channel) ? title : `# ${title}`;
  const members = count(channel.members.length, "member", "members");
  $("main-about").textContent = channel.kind === "im" ? "direct message" : members;
  $("main-list").setAttribute("aria-label", `Messages in ${named}`);
  const below = (root) => replySummary(app, root, threads.get(root.ts) ?? []);
  app.main.show(`${here.me}/${channel.id}`, rows(top, { directory: directory(app), inThread: false, since: here.since }, below));
  drawStatus($("main-status"), workspace.status(channel.id, ""), app.main);
  $("empty").hidden = top.length > 0;
  if (!top.length) patchChildren($("empty"), firstSteps(named, alone, bot, workspace.scripted));
  const invite = bot ? `Mention @${bot.name} to ask it; it answers in a thread.` : "";
  app.mainComposer.show(`${here.me}/${channel.id}`, {
    placeholder: `Message ${named}`,
    hint: alone ? `Everything you write here goes to ${bot.name}.` : invite,
    bot: alone ? null : bot,
  });
}

export function drawThread(app, channel) {
  const { workspace, here } = app;
  const root = here.thread && workspace.find(channel.id, here.thread);
  $("app").classList.toggle("with-thread", Boolean(root));
  $("thread").hidden = !root;
  if (!root) return;
  const replies = workspace.view(channel.id, here.me).threads.get(root.ts) ?? [];
  const title = workspace.title(channel, here.me);
  $("thread-about").textContent = workspace.isDirect(channel) ? title : `# ${title}`;
  const shown = rows([root, ...replies], { directory: directory(app), inThread: true, since: here.threadSince });
  if (replies.length) shown.splice(1, 0, replyMark(root, replies.length));
  app.thread.show(`${here.me}/${channel.id}/${root.ts}`, shown);
  drawStatus($("thread-status"), workspace.status(channel.id, root.ts), app.thread);
  const bot = channel.members.includes(workspace.bot?.id) ? workspace.bot : null;
  const known = bot && replies.some((reply) => reply.user === bot.id);
  const invite = bot && channel.kind !== "im" ? `Mention @${bot.name} to bring it in.` : "";
  app.threadComposer.show(`${here.me}/${channel.id}/${root.ts}`, {
    placeholder: "Reply in the thread",
    hint: known ? `Just go on: ${bot.name} needs no mention while you two talk.` : invite,
    bot: channel.kind === "im" ? null : bot,
    also: workspace.isDirect(channel) ? "" : `#${title}`,
  });
}

export function directory({ workspace, here }) {
  const { users, channels, shortcuts, chosen } = workspace;
  return { me: here.me, users, channels, shortcuts, chosen };
}

function placeSign(workspace, channel, me) {
  if (channel.kind === "im") return avatar(workspace.others(channel, me)[0], "small");
  const sign = { mpim: String(channel.members.length - 1), group: icon("lock") }[channel.kind] ?? "#";
  return el("span", { class: channel.kind === "mpim" ? "avatar small crowd" : "hash", "aria-hidden": "true" }, sign);
}

function badge(number) {
  if (!number) return null;
  const label = count(number, "unread message", "unread messages");
  return el("span", { class: "unread", "aria-label": label }, String(number));
}

function playerButton(user, me) {
  const target = { "data-do": "player", "data-user": user.id, "aria-pressed": String(user.id === me) };
  const title = user.title ? el("span", { class: "hint" }, user.title) : null;
  return el("button", { type: "button", ...target }, avatar(user, "small"), el("span", { class: "label" }, user.name), title);
}

function drawStatus(node, { text, loading }, pane) {
  const dots = () => el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  const turn = loading[Math.floor(Date.now() / LOADING_MILLISECONDS) % loading.length];
  const more = turn ? el("span", { class: "loading", "aria-hidden": "true" }, turn) : null;
  patchChildren(node, text ? [dots(), el("span", {}, text), more].filter(Boolean) : []);
  if (pane.atEnd) pane.toEnd();
}

function replyMark(root, number) {
  const label = count(number, "reply", "replies");
  const render = () => el("li", { class: "day replies-mark" }, el("span", {}, label));
  return { key: `${root.ts} replies`, signature: label, render };
}

/** What stands under a root in the channel: its replies, and what the bot is doing there. */
function replySummary({ workspace, reads, here }, root, replies) {
  const status = workspace.status(root.channel, root.ts);
  const last = replies.at(-1);
  const fresh = last && last.user !== here.me && last.ts > reads.upTo(here.me, `${root.channel}/${root.ts}`);
  const faces = [...new Set(replies.map((reply) => reply.user))].slice(0, FACES);
  const nodes = () => {
    const line = status.text ? el("p", { class: "status" }) : null;
    if (line) drawStatus(line, { ...status, loading: [] }, { atEnd: false });
    if (!last) return [line];
    const target = { "data-do": "thread", "data-channel": root.channel, "data-ts": root.ts };
    const button = el(
      "button",
      { type: "button", class: fresh ? "replies fresh" : "replies", ...target },
      faces.map((id) => avatar(workspace.users.get(id), "small")),
      el("span", { class: "number" }, count(replies.length, "reply", "replies")),
      el("span", { class: "when" }, `last at ${clock(last.ts)}`),
    );
    return [button, line];
  };
  return { signature: [replies.length, last?.ts, fresh, status.text, faces.join()].join(), nodes };
}

/** What a newcomer can try in an empty channel. */
function firstSteps(named, alone, bot, scripted) {
  if (!bot) return [el("p", {}, `This is the beginning of ${named}.`)];
  const attempt = (label, text) => {
    const filled = alone ? text : `@${bot.name} ${text}`;
    return el("button", { type: "button", class: "button", "data-do": "fill", "data-text": filled }, label);
  };
  const how = alone
    ? `Write to ${bot.name} as you would to a colleague.`
    : `Mention @${bot.name} and ask something: it answers in a thread, and there you just go on. Or write to it alone.`;
  const steps = [
    el("h2", {}, alone ? `Your conversation with ${named}` : `Welcome to ${named}`),
    el("p", {}, how),
    scripted ? el("p", {}, "“/help” lists what the simulated agent can do.") : null,
    el(
      "div",
      { class: "actions" },
      attempt("Say hello", "Hello, who are you?"),
      scripted ? [attempt("/help", "/help"), attempt("A long answer", "/long 3000")] : null,
    ),
  ];
  return steps.filter(Boolean);
}
