/** Places in the workspace: their addresses on this page, and their links as Slack writes them. */

/** The address of a message: `#channel/thread/message`, without a thread `#channel//message`. */
export function address({ channel, ts, thread_ts: root }) {
  return `#${channel}/${root ?? ""}/${ts}`;
}

/** {channel, root, target} of an address; missing parts are empty. */
export function parse(hash) {
  const [channel = "", root = "", target = ""] = decodeURIComponent(hash.slice(1)).split("/");
  return { channel, root, target };
}

/** The link that Slack's own "Copy link" gives. */
export function permalink({ channel, ts, thread_ts: root }) {
  const thread = root ? `?thread_ts=${root}&cid=${channel}` : "";
  return `${location.origin}/archives/${channel}/p${ts.replace(".", "")}${thread}`;
}

/** The address that a link to a message of this workspace leads to, or null for any other link. */
export function addressOf(href) {
  const url = new URL(href, location.href);
  const found = /^\/archives\/(\w+)\/p(\d+)(\d{6})$/.exec(url.pathname);
  if (!found || url.origin !== location.origin) return null;
  const [, channel, seconds, rest] = found;
  return address({ channel, ts: `${seconds}.${rest}`, thread_ts: url.searchParams.get("thread_ts") });
}
