/** The workspace as the page knows it: people, channels, messages, status lines. */

const TONES = 8;
const LINES = 300;

export class Workspace {
  constructor() {
    this.team = { id: "", name: "" };
    this.users = new Map();
    this.channels = new Map();
    this.bot = null;
    this.players = [];
    this.statuses = new Map();
    this.messages = new Map();
    this.views = new Map();
    this.modals = new Map();
    this.traffic = new Map();
    this.switches = new Map();
    this.chosen = new Map();
    this.shortcuts = [];
    this.scripted = true;
    this.uploadBytes = Infinity;
    this.revision = 0;
  }

  load(state) {
    this.team = state.team;
    this.users = new Map(state.users.map((user, index) => [user.id, { ...user, tone: index % TONES }]));
    this.channels = new Map(state.channels.map((channel) => [channel.id, channel]));
    this.bot = this.users.get(state.bot) ?? state.users.find((user) => user.is_bot) ?? null;
    this.players = state.me.map((id) => this.users.get(id));
    this.statuses = new Map();
    this.views = new Map();
    this.messages = new Map(state.channels.map((channel) => [channel.id, new Map()]));
    for (const message of state.messages) this.put(message);
    for (const status of state.statuses) this.setStatus(status);
    this.modals = new Map(Object.entries(state.views));
    this.shortcuts = state.shortcuts;
    this.scripted = state.scripted_agent;
    this.uploadBytes = state.upload_bytes;
    this.traffic = new Map(state.traffic.map((line) => [line.key, line]));
    this.switches = new Map(state.switches.map((it) => [it.id, it]));
  }

  apply(event) {
    if (event.type === "status") this.setStatus(event);
    else if (event.type === "message" || event.type === "ephemeral") this.put(event);
    else if (event.type === "views") this.modals.set(event.user, event.views);
    else if (event.type === "switch") this.switches.set(event.id, event);
    else if (event.type === "line") this.putLine(event);
    else if (event.type === "channel") {
      this.channels.set(event.id, event);
      if (!this.messages.has(event.id)) this.messages.set(event.id, new Map());
    }
  }

  putLine(line) {
    this.traffic.set(line.key, line);
    if (this.traffic.size > LINES) this.traffic.delete(this.traffic.keys().next().value);
  }

  /** Remember which of two feedback buttons was pressed; the app is told, the message does not change. */
  choose(user, channel, ts, action, value) {
    this.chosen.set(`${user}/${channel}/${ts}/${action}`, value);
    const message = this.find(channel, ts);
    if (message) this.put(message);
  }

  put(message) {
    this.revision += 1;
    this.messages.get(message.channel)?.set(message.ts, { ...message, revision: this.revision });
    this.views.delete(message.channel);
  }

  setStatus({ channel, thread_ts: thread, status, loading }) {
    this.statuses.set(`${channel}/${thread ?? ""}`, { status, loading: loading ?? [] });
  }

  /** {text, loading}: what the bot says it is doing in a thread, as a sentence, and messages to show in turn. */
  status(channel, thread) {
    const { status = "", loading = [] } = this.statuses.get(`${channel}/${thread}`) ?? {};
    return { text: status && `${this.bot?.name ?? "agent"} ${status}`, loading: status ? loading : [] };
  }

  /** Whether any status line has messages to show in turn. */
  get loading() {
    return [...this.statuses.values()].some(({ status, loading }) => status && loading.length > 1);
  }

  /** Channels that a person is in, in two lists: rooms, and direct messages. */
  places(me) {
    const seen = [...this.channels.values()].filter((channel) => channel.members.includes(me));
    const rooms = seen.filter((channel) => !this.isDirect(channel));
    return { rooms, direct: seen.filter((channel) => this.isDirect(channel)) };
  }

  isDirect(channel) {
    return channel.kind === "im" || channel.kind === "mpim";
  }

  /** The people of a direct message besides `me`. */
  others(channel, me) {
    return channel.members.filter((id) => id !== me).map((id) => this.users.get(id)).filter(Boolean);
  }

  /** A channel's name as a person reads it. */
  title(channel, me) {
    if (!this.isDirect(channel)) return channel.name;
    return this.others(channel, me).map((user) => user.name).join(", ") || channel.name;
  }

  /**
   * What a person sees of a channel: {top, threads}. `top` are the messages outside threads, in order; `threads` maps
   * a root's ts to its replies. A deleted root stays as long as it has replies.
   */
  view(channelId, me) {
    const known = this.views.get(channelId);
    if (known?.me === me) return known;
    const view = { me, ...this.arrange(channelId, me) };
    this.views.set(channelId, view);
    return view;
  }

  arrange(channelId, me) {
    const threads = new Map();
    const top = [];
    const all = [...(this.messages.get(channelId)?.values() ?? [])].sort((a, b) => (a.ts < b.ts ? -1 : 1));
    for (const message of all) {
      if (message.ephemeral_to && message.ephemeral_to !== me) continue;
      const root = message.thread_ts;
      if (!root || root === message.ts) top.push(message);
      else if (!message.deleted) {
        threads.set(root, [...(threads.get(root) ?? []), message]);
        if (message.broadcast) top.push(message);
      }
    }
    return { top: top.filter((message) => !message.deleted || threads.has(message.ts)), threads };
  }

  find(channelId, ts) {
    return this.messages.get(channelId)?.get(ts);
  }
}
