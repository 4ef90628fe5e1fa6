// One queue: what it holds, why it does not deliver, and what may be done with it.

import { html, useEffect, useState } from "./vendor/htm-preact.module.js";
import { call } from "./api.js";
import { key } from "./live.js";
import {
  Ask, Body, Headers, Plot, Table, Trouble, say, useLive, useRows,
} from "./parts.js";
import { Send } from "./send.js";
import * as format from "./format.js";

export function Queue({ name, vhost }) {
  const live = useLive();
  const [rows, error, again] = useRows("queues", { match: name, vhost }, { every: 2000 });
  const [asked, setAsked] = useState(null);
  const [looks, setLooks] = useState(0);
  const row = rows && rows.find((one) => one.name === name);
  const history = live.history(vhost, name);
  const times = live.times.slice(-history.ready.length || live.times.length);
  const dead = name.startsWith("/queue/DLQ.");
  const at = { destination: name, vhost };
  const done = () => { setAsked(null); again(); setLooks((n) => n + 1); };
  const act = async (verb) => {
    try { say(await call(verb, at)); } catch (problem) { say(problem.message); }
    again();
  };
  const questions = {
    purge: { title: `Purge ${name}?`, doing: "Purge", typed: name,
      text: "Its messages that wait or are not due yet are dropped. Nobody can bring them back.",
      onDo: () => call("purge", at) },
    delete: { title: `Delete ${name}?`, doing: "Delete", typed: name,
      text: "The queue goes with what it holds. Nobody can bring it back.",
      onDo: async () => { const outcome = await call("delete", at); location.hash = "#/queues"; return outcome; } },
    move: { title: `Move messages of ${name}`, doing: "Move",
      text: "They are taken from here and put there, page by page.",
      fields: [{ name: "target", label: "To", required: true, hint: "/queue/other" },
        { name: "count", label: "At most", hint: "all" }, { name: "selector", label: "Only those of which is true", hint: "amount > 100" }],
      onDo: (values) => call("move", transfer(name, vhost, values)) },
    copy: { title: `Copy messages of ${name}`, doing: "Copy", text: "They stay here, and copies are put there.",
      fields: [{ name: "target", label: "To", required: true, hint: "/queue/other" },
        { name: "count", label: "At most", hint: "all" }, { name: "selector", label: "Only those of which is true", hint: "amount > 100" }],
      onDo: (values) => call("copy", transfer(name, vhost, values)) },
    requeue: { title: `Requeue all of ${name}?`, doing: "Requeue",
      text: "Each dead letter goes back to where it came from, with all attempts before it.",
      onDo: () => call("requeue", at) },
  };
  return html`<h1><a href="#/queues">Queues</a> / <span class="name">${name}</span>
      ${row && row.paused && html` <span class="mark">paused</span>`}</h1>
    <${Trouble} text=${error} />
    ${rows && !row && html`<p class="empty">There is no such queue. It comes with the first SEND or SUBSCRIBE.</p>`}
    ${row && html`<dl class="facts">
      ${[["Ready", format.count(row.ready)], ["Unsettled", format.count(row.inflight)], ["Delayed", format.count(row.delayed)],
        ["Consumers", format.count(row.consumers)], ["In", `${format.rate(row.in_rate)}/s`], ["Out", `${format.rate(row.out_rate)}/s`],
        ["Oldest", format.age(row.oldest)], ["Size", format.octets(row.bytes)], ["In the store only", format.count(row.disk_messages)],
        ["Dead letters go to", row.dead_letter_queue || "nowhere"]]
        .map(([title, value]) => html`<div><dt>${title}</dt><dd>${value}</dd></div>`)}</dl>
    <div class="bar actions">
      ${dead && html`<button class="main" onClick=${() => setAsked("requeue")}>Requeue all…</button>`}
      ${row.paused ? html`<button onClick=${() => act("resume")}>Resume</button>`
        : html`<button onClick=${() => act("pause")}>Pause</button>`}
      <button onClick=${() => setAsked("move")}>Move…</button>
      <button onClick=${() => setAsked("copy")}>Copy…</button>
      <button class="danger" onClick=${() => setAsked("purge")}>Purge…</button>
      <button class="danger" onClick=${() => setAsked("delete")}>Delete…</button>
    </div>
    ${history.ready.length > 1 && html`<div class="plots">
      <${Plot} title="Messages ready" times=${times} lines=${[["ready", history.ready, "--one"]]} height=${140} />
      <${Plot} title="Messages a second" times=${times} lines=${[["in", history.in, "--one"], ["out", history.out, "--two"]]} height=${140} /></div>`}
    <${Explain} destination=${name} vhost=${vhost} />
    <h2>Messages</h2>
    <${Messages} key=${`${key(vhost, name)} ${looks}`} name=${name} vhost=${vhost} dead=${dead} onDone=${done} />`}
    <details class="send"><summary>Send a message</summary>
      <${Send} destination=${name} onSent=${() => setTimeout(done, 300)} /></details>
    ${asked && html`<${Ask} key=${asked} ...${questions[asked]} onClose=${done} />`}`;
}

const transfer = (source, vhost, { target, count, selector }) => ({
  source, vhost, target,
  ...(count && { count: Number(count) }),
  ...(selector && { selector }),
});

function Explain({ destination, vhost }) {
  const [told, error] = useRows("explain", { destination, vhost }, { every: 5000 });
  return html`<${Trouble} text=${error} />
    ${told && told.reasons.length > 0 && html`<h2>What keeps messages here</h2>
      <ul class="reasons">${told.reasons.map((reason) => html`<li><code>${reason.code}</code> ${format.visible(reason.text)}</li>`)}</ul>`}`;
}

function Messages({ name, vhost, dead, onDone }) {
  const [messages, setMessages] = useState(null);
  const [more, setMore] = useState(null);
  const [total, setTotal] = useState(null);
  const [error, setError] = useState("");
  const [open, setOpen] = useState(null);
  const [chosen, setChosen] = useState(new Set());
  const [selector, setSelector] = useState("");
  const look = async (after) => {
    try {
      const found = await call("browse", {
        destination: name, vhost, count: 50, body_bytes: 200,
        ...(after && { after }), ...(selector && { selector }),
      });
      setMessages((before) => (after ? [...before, ...found.messages] : found.messages));
      setMore(found.more);
      if (!after) setTotal(found.total);
      setError("");
    } catch (problem) {
      setError(problem.message);
      setMessages((before) => before || []);
    }
  };
  useEffect(() => { look(); }, [name, vhost]);
  const requeue = async () => {
    try {
      say(await call("requeue", { destination: name, vhost, ids: [...chosen] }));
      onDone();
    } catch (problem) { setError(problem.message); }
  };
  return html`<form class="bar" onSubmit=${(event) => { event.preventDefault(); setChosen(new Set()); look(); }}>
      <input type="search" placeholder="Selector: priority > 4" aria-label="Selector" value=${selector}
        onInput=${(event) => setSelector(event.target.value)} />
      <button>Look again</button>
      ${dead && html`<button type="button" class="main" disabled=${!chosen.size} onClick=${requeue}>Requeue ${chosen.size || ""} chosen</button>`}
      <span class="soft">${total === null ? "" : `${format.count(total)} in all`}</span></form>
    <${Trouble} text=${error} />
    <${Table} name="messages" rows=${messages} filter=${false} id=${(row) => row.id} first=${{ name: "place", down: false }} empty="It holds no messages."
      selected=${dead ? chosen : undefined} onSelect=${setChosen}
      columns=${[
        { name: "place", title: "Id", number: true, show: (row) => html`<button class="link" onClick=${() => setOpen(row)}>${row.id}</button>` },
        { name: "state", title: "State" },
        ...(dead ? [{ name: "reason", title: "Died of", value: (row) => row.headers["dead-letter-reason"],
          show: (row) => row.headers["dead-letter-reason"] || "–" }] : []),
        { name: "body", title: "Body", value: (row) => row.body || "",
          show: (row) => html`<span class="peek">${row.body === undefined ? "(octets)" : format.visible(row.body).slice(0, 80)}</span>` },
        { name: "size", title: "Size", number: true, show: (row) => format.octets(row.size) },
        { name: "age", title: "Age", number: true, show: (row) => format.age(row.age) },
        { name: "priority", title: "Priority", number: true, minor: true },
        { name: "delivery_count", title: "Attempts", number: true, minor: true },
        { name: "persistent", title: "Persistent", minor: true, show: (row) => (row.persistent ? "yes" : "no") },
      ]} />
    ${more && html`<button onClick=${() => look(more)}>Show more</button>`}
    ${open && html`<${Message} name=${name} vhost=${vhost} row=${open} onClose=${() => setOpen(null)} />`}`;
}

function Message({ name, vhost, row, onClose }) {
  const [whole, setWhole] = useState(row);
  const [error, setError] = useState("");
  useEffect(() => {
    call("browse", { destination: name, vhost, id: row.id, body_bytes: 1 << 20 })
      .then((found) => setWhole(found.messages[0]), (problem) => setError(problem.message));
  }, [row.id]);
  const show = (element) => element && !element.open && element.showModal();
  return html`<dialog class="wide" ref=${show} onClose=${onClose} aria-label=${`Message ${row.id}`}>
    <h2>Message ${whole.id} of <span class="name">${name}</span></h2>
    <p class="soft">${whole.state}, ${format.octets(whole.size)}, ${format.age(whole.age)} old${whole.connection ? `, with ${whole.connection}` : ""}</p>
    <${Trouble} text=${error} />
    <${Headers} headers=${whole.headers} /><${Body} row=${whole} />
    <form method="dialog" class="bar end"><button>Close</button></form></dialog>`;
}
