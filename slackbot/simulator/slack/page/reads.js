/** How far each person has read, remembered by the browser. */

export class Reads {
  constructor(teamId) {
    this.key = `slack-simulator/${teamId}/reads`;
    this.since = String(Date.now() / 1000);
    this.read = JSON.parse(load(this.key) ?? "{}");
  }

  /** The place has been read up to `ts`. Tells whether that was news. */
  mark(me, place, ts) {
    if (this.upTo(me, place) >= ts) return false;
    this.read[`${me}/${place}`] = ts;
    save(this.key, JSON.stringify(this.read));
    return true;
  }

  upTo(me, place) {
    return this.read[`${me}/${place}`] ?? this.since;
  }

  /** {count, loud}: unread messages of others that concern `me`; loud where they are addressed to them. */
  unread(workspace, channel, me) {
    const { top, threads } = workspace.view(channel.id, me);
    const news = (messages, place) =>
      messages.filter((message) => message.user !== me && !message.deleted && message.ts > this.upTo(me, place));
    const fresh = news(top, channel.id);
    for (const root of top) {
      const replies = threads.get(root.ts) ?? [];
      const mine = root.user === me || replies.some((reply) => reply.user === me);
      if (mine) fresh.push(...news(replies, `${channel.id}/${root.ts}`));
    }
    const loud = fresh.filter((message) => workspace.isDirect(channel) || message.text.includes(`<@${me}>`));
    return { count: fresh.length, loud: loud.length };
  }
}

/** Storage may be switched off; then the page forgets. */
function load(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function save(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Nothing is lost but the unread marks of the next visit.
  }
}
