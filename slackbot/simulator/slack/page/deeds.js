/** What happens when something with `data-do` is pressed. */

import { act } from "./api.js";
import { ask, choosePeople, editText } from "./dialogs.js";
import { decode } from "./entities.js";
import { entered } from "./inputs.js";
import { offer } from "./menu.js";
import { permalink } from "./places.js";
import { pick } from "./reactions.js";

/** The deeds by name; each gets the button's data and the button. */
export function deedsOf(app) {
  const { workspace, here } = app;
  const me = () => ({ user: here.me });

  async function press({ channel, ts, view, action, value, confirm }, node) {
    if (node.ariaBusy === "true" || (confirm && !(await confirmed(JSON.parse(confirm))))) return;
    const place = view ? { view, values: entered(node.closest("form")) } : { channel, ts };
    node.ariaBusy = "true"; // a disabled button would lose the focus
    try {
      const { acked } = await act("press", { ...me(), ...place, action_id: action, value: value ?? null });
      if (!acked) app.toast("The app did not answer in time.");
      else if (node.classList.contains("feedback")) workspace.choose(here.me, channel, ts, action, value);
    } finally {
      node.ariaBusy = null;
      app.draw();
    }
  }

  return {
    press,
    channel({ channel }) {
      app.go(channel);
      app.mainComposer.focus();
    },
    thread({ channel, ts }) {
      app.go(channel, ts);
      app.focusThread();
    },
    close() {
      app.go(here.channel);
      app.mainComposer.focus();
    },
    player({ user }) {
      app.become(user);
    },
    drawer: () => app.drawer.open(!app.drawer.shown),
    fill: ({ text }) => app.mainComposer.fill(text),
    async overflow(data, button) {
      const items = JSON.parse(data.options).map(({ text, value }) => ({ value, label: text.text }));
      const value = await offer(button, "More", items);
      if (value !== null) await press({ ...data, value }, button);
    },
    async react({ channel, ts, name, added }) {
      await act("react", { ...me(), channel, ts, name, added: added === "true" });
    },
    async pick({ channel, ts }, button) {
      const name = await pick(button);
      if (name) await act("react", { ...me(), channel, ts, name, added: true });
    },
    async shortcuts({ channel, ts }, button) {
      const items = workspace.shortcuts.map(({ id, name }) => ({ value: id, label: name }));
      const callback = await offer(button, "Shortcuts", items);
      if (callback) await act("shortcut", { ...me(), channel, ts, callback_id: callback });
    },
    async link({ channel, ts }) {
      const link = permalink(workspace.find(channel, ts));
      try {
        await navigator.clipboard.writeText(link);
        app.toast("The link is copied.");
      } catch {
        app.toast(link);
      }
    },
    async edit({ channel, ts }) {
      const before = decode(workspace.find(channel, ts).text, workspace);
      const text = await editText("Edit message", before);
      if (text !== null && text !== before) await act("edit", { ...me(), channel, ts, text });
    },
    async delete({ channel, ts }) {
      if (await ask("Delete this message?", "Delete")) await act("delete", { ...me(), channel, ts });
    },
    dismiss: ({ channel, ts }) => act("dismiss", { ...me(), channel, ts }),
    async talk() {
      const others = [...workspace.users.values()].filter(({ id }) => id !== here.me);
      const chosen = await choosePeople("New direct message", others);
      if (!chosen?.length) return;
      const { channel } = await act("open", { ...me(), with: chosen });
      app.go(channel);
      app.mainComposer.focus();
    },
  };
}

function confirmed({ title, text, confirm, deny, style }) {
  const more = { title: title?.text, no: deny?.text, style: style ?? "primary" };
  return ask(text.text, confirm?.text ?? "Yes", more);
}
