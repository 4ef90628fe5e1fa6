// What happens, as it happens: events, and a tap on frames.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.module.js";
import { live } from "./live.js";
import { Body, Headers, Trouble, useLive } from "./parts.js";
import * as format from "./format.js";

export function Events() {
  const { events, mode } = useLive();
  const [text, setText] = useState("");
  const [stopped, setStopped] = useState(null);
  const shown = (stopped || events).filter((event) => JSON.stringify(event).toLowerCase().includes(text.toLowerCase()));
  return html`<h1>Events</h1>
    ${mode !== "live" && html`<p class="trouble">Events come over WebSocket, and there is no connection.</p>`}
    <div class="bar"><input type="search" class="filter" placeholder="Filter (press /)" aria-label="Filter events"
        value=${text} onInput=${(event) => setText(event.target.value)} />
      <button aria-pressed=${Boolean(stopped)} onClick=${() => setStopped(stopped ? null : [...events])}>${stopped ? "Go on" : "Hold"}</button>
      <span class="soft">${format.count(shown.length)} events</span></div>
    ${shown.length ? html`<ol class="events" aria-live="polite">${shown.map(({ n, event, time, ...rest }) => html`<li key=${n}>
        <time>${format.time(time)}</time> <b>${event}</b>
        <span>${Object.entries(rest).filter(([, value]) => value !== null && value !== "")
          .map(([name, value]) => html`<span class="pair"><i>${name}</i> ${format.visible(String(value))} </span>`)}</span></li>`)}</ol>`
      : html`<p class="empty">Nothing has happened since this page was opened.</p>`}`;
}

const FRAMES = 500;

export function Tap() {
  const { mode } = useLive();
  const [on, setOn] = useState(false);
  const [filters, setFilters] = useState({ match: "", connection: "", user: "", frames: "" });
  const [frames, setFrames] = useState([]);
  const [dropped, setDropped] = useState(0);
  const waiting = useRef([]);
  useEffect(() => {
    if (!on || mode !== "live") return undefined;
    const headers = { "body-bytes": "500" };
    for (const [name, value] of Object.entries(filters)) if (value) headers[name] = value;
    const subscription = live.stomp.subscribe("/topic/$SYS/tap", (message) => waiting.current.push(JSON.parse(message.body)), headers);
    const timer = setInterval(() => {
      // What the broker tells this page is of no interest here, unless it is asked for.
      const come = waiting.current.splice(0).reverse().filter((row) =>
        filters.match.includes("$SYS") || !(row.headers.destination || "").startsWith("/topic/$SYS"));
      if (!come.length) return;
      setDropped((n) => n + come.reduce((sum, row) => sum + (row.dropped || 0), 0));
      setFrames((before) => [...come, ...before].slice(0, FRAMES));
    }, 250);
    return () => { clearInterval(timer); if (live.stomp.connected) subscription.unsubscribe(); };
  }, [on, mode]);
  const field = (name, label, hint) => html`<label>${label}<input value=${filters[name]} placeholder=${hint} disabled=${on}
    onInput=${(event) => setFilters({ ...filters, [name]: event.target.value })} /></label>`;
  return html`<h1>Tap</h1>
    <p class="soft">Frames as they come in and go out. The tap never slows the broker: what it cannot show it drops, and counts.</p>
    <form class="bar fields" onSubmit=${(event) => { event.preventDefault(); setOn(!on); }}>
      ${field("match", "Destination", "/queue/orders.#")} ${field("connection", "Connection", "c17")}
      ${field("user", "User", "")} ${field("frames", "Frames", "SEND, ACK")}
      <button class="main">${on ? "Stop" : "Start"}</button>
      <button type="button" onClick=${() => { setFrames([]); setDropped(0); }}>Clear</button></form>
    ${on && mode !== "live" && html`<${Trouble} text="Frames come over WebSocket, and there is no connection." />`}
    ${dropped > 0 && html`<p class="soft">${format.count(dropped)} frames were not shown.</p>`}
    <ol class="frames">${frames.map((row, at) => html`<li key=${`${row.time} ${frames.length - at}`}><details>
      <summary><time>${format.time(row.time)}</time> <span class=${row.direction}>${row.direction === "in" ? "→" : "←"}</span>
        <span>${row.connection}</span> <b>${row.command}</b> <span>${format.visible(row.headers.destination || row.headers["receipt-id"] || "")}</span>
        <span class="peek soft">${row.body === undefined ? "" : format.visible(row.body).slice(0, 60)}</span></summary>
      <${Headers} headers=${row.headers} /><${Body} row=${row} /></details></li>`)}</ol>
    ${on && !frames.length && html`<p class="empty">No frame has come yet.</p>`}`;
}
