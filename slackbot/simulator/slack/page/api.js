/** Talking to the simulated Slack: its state, its live events, and a person's deeds. */

const RETRY_MILLISECONDS = 1000;

/** Do something as a person: "say", "press", "edit", … Throws an Error in words. */
export function act(deed, body) {
  return post(deed, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Bring a file into the workspace; resolves to its id. Throws an Error in words. */
export async function upload(user, file) {
  const query = new URLSearchParams({ user, name: file.name });
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  await file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Error(`${file.name} cannot be read any more. Your text is still here.`);
  });
  return (await post(`upload?${query}`, { headers, body: file })).id;
}

async function post(path, request) {
  let response;
  try {
    response = await fetch(`page/${path}`, { method: "POST", ...request });
  } catch {
    throw new Error("The workspace cannot be reached. Your text is still here; try again in a moment.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok && answer.ok !== false) return answer;
  throw new Error(`The workspace refused it: ${answer.error ?? response.status}`);
}

/**
 * Follow the workspace for as long as the page is open: `onState` after each (re)connect, `onEvent` for each change,
 * `onLost` when the connection breaks. Events that arrive while the state is on its way are applied after it.
 */
export function follow({ onState, onEvent, onLost }) {
  const source = new EventSource("page/events");
  let early = [];
  source.onopen = async () => {
    early = [];
    try {
      const response = await fetch("page/state");
      if (!response.ok) throw new Error(`state: ${response.status}`);
      onState(await response.json());
      const waiting = early;
      early = null;
      waiting.forEach(onEvent);
    } catch {
      restart();
    }
  };
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (early) early.push(event);
    else onEvent(event);
  };
  source.onerror = () => {
    onLost();
    // The browser retries by itself, except after an answer that was no event stream.
    if (source.readyState === EventSource.CLOSED) restart();
  };
  function restart() {
    source.close();
    onLost();
    setTimeout(() => follow({ onState, onEvent, onLost }), RETRY_MILLISECONDS);
  }
}
