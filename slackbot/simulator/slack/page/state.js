/** The workspace as the page knows it: people, channels, messages, status lines. */

const TONES = 8;

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
  }

  apply(event) {
    if (event.type === "status") this.setStatus(event);
    else if (event.type === "message" || event.type === "ephemeral") this.put(event);
  }

  put(message) {
    this.revision += 1;
    this.messages.get(message.channel)?.set(message.ts, { ...message, revision: this.revision });
    this.views.delete(message.channel);
  }

  setStatus({ channel, thread_ts: thread, status }) {
    this.statuses.set(`${channel}/${thread ?? ""}`, status);
  }

  /** What the bot says it is doing in a thread, as a sentence; "" when it says nothing. */
  status(channel, thread) {
    const status = this.statuses.get(`${channel}/${thread}`);
    return status ? `${this.bot?.name ?? "agent"} ${status}` : "";
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
      else if (!message.deleted) threads.set(root, [...(threads.get(root) ?? []), message]);
    }
    return { top: top.filter((message) => !message.deleted || threads.has(message.ts)), threads };
  }

  find(channelId, ts) {
    return this.messages.get(channelId)?.get(ts);
  }
}
