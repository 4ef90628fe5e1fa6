// Sending a message, by STOMP as any client does.

import { html, useState } from "./vendor/htm-preact.module.js";
import { send } from "./live.js";
import { Trouble, say } from "./parts.js";

export function Send({ destination = "", onSent }) {
  const [to, setTo] = useState(destination);
  const [kind, setKind] = useState("text/plain");
  const [headers, setHeaders] = useState("");
  const [body, setBody] = useState("");
  const [persistent, setPersistent] = useState(true);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const act = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await send({ destination: to, body, headers: {
        "content-type": kind, persistent: String(persistent), ...parsed(headers),
      } });
      setError("");
      say(`Sent to ${to}`);
      if (onSent) onSent();
    } catch (problem) { setError(problem.message); }
    setBusy(false);
  };
  return html`<form class="sending" onSubmit=${act}>
    ${!destination && html`<label>Destination
      <input name="destination" required value=${to} placeholder="/queue/test" onInput=${(event) => setTo(event.target.value)} /></label>`}
    <label>Content type <input name="type" list="types" value=${kind} onInput=${(event) => setKind(event.target.value)} />
      <datalist id="types"><option value="text/plain" /><option value="application/json" /></datalist></label>
    <label>Headers <textarea name="headers" rows="3" placeholder=${"name:value, one a line"} value=${headers}
      onInput=${(event) => setHeaders(event.target.value)}></textarea></label>
    <label>Body <textarea name="body" rows="6" value=${body} onInput=${(event) => setBody(event.target.value)}></textarea></label>
    <label class="check"><input type="checkbox" checked=${persistent} onChange=${(event) => setPersistent(event.target.checked)} />
      Persistent: on disk before it is confirmed</label>
    <${Trouble} text=${error} />
    <div class="bar end"><button class="main" disabled=${busy}>Send</button></div></form>`;
}

function parsed(text) {
  const found = {};
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const at = line.indexOf(":");
    if (at < 1) throw new Error(`header "${line}" has no ":"`);
    found[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return found;
}

export const SendPage = () => html`<h1>Send a message</h1><${Send} />`;
