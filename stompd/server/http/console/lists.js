// The pages that are one table: queues, topics, subscriptions, connections.

import { html, useState } from "./vendor/htm-preact.module.js";
import { call } from "./api.js";
import { key } from "./live.js";
import { Ask, Spark, Table, Trouble, queueLink, useLive, useRows } from "./parts.js";
import * as format from "./format.js";

const number = (name, title, more = {}) =>
  ({ name, title, number: true, show: (row) => format.count(row[name]), ...more });
const perSecond = (name, title) => ({ name, title, number: true, show: (row) => format.rate(row[name]) });
const oldest = { name: "oldest", title: "Oldest", number: true, show: (row) => format.age(row.oldest) };

export function Queues() {
  const live = useLive();
  const [rows, error] = useRows("queues", {}, { kinds: ["queue-"] });
  const fresh = rows && rows.map((row) => ({ ...row, ...live.queues.get(key(row.vhost, row.name)) }));
  return html`<h1>Queues</h1><${Trouble} text=${error} />
    <${Table} name="queues" rows=${fresh} id=${(row) => key(row.vhost, row.name)} empty="There are no queues yet. They come with the first SEND or SUBSCRIBE."
      columns=${[
        { name: "name", title: "Queue", show: (row) => html`<a href=${queueLink(row)}>${row.name}</a>
          ${row.paused && html` <span class="mark">paused</span>`}
          ${row.vhost !== "/" && html` <span class="soft">${row.vhost}</span>`}` },
        { name: "spark", title: "", show: (row) => html`<${Spark} label="Ready" values=${live.history(row.vhost, row.name).ready} />` },
        number("ready", "Ready"), number("inflight", "Unsettled"), number("delayed", "Delayed", { minor: true }),
        number("consumers", "Consumers"), perSecond("in_rate", "In/s"), perSecond("out_rate", "Out/s"), oldest,
        { name: "bytes", title: "Size", number: true, minor: true, show: (row) => format.octets(row.bytes) },
      ]} />`;
}

export function Topics() {
  const [rows, error] = useRows("topics");
  return html`<h1>Topics</h1><${Trouble} text=${error} />
    <${Table} name="topics" rows=${rows} id=${(row) => key(row.vhost, row.name)} empty="There are no topics yet."
      columns=${[
        { name: "name", title: "Topic" },
        number("subscribers", "Subscribers"), number("durable_subscriptions", "Durable"),
        number("received", "Received"), perSecond("in_rate", "In/s"),
        number("delayed", "Delayed", { minor: true }),
        { name: "retained", title: "Retained", show: (row) => (row.retained ? "yes" : "no") },
      ]} />
    <h2>Durable subscriptions</h2><${Durables} />`;
}

function Durables() {
  const [rows, error] = useRows("durables");
  return html`<${Trouble} text=${error} />
    <${Table} name="durables" rows=${rows} filter=${false} id=${(row) => `${row.vhost} ${row.client_id} ${row.name} ${row.topic}`} empty="There are none."
      columns=${[
        { name: "name", title: "Name", show: (row) => html`<a href=${queueLink({ vhost: row.vhost, name: row.queue })}>${row.name}</a>` },
        { name: "client_id", title: "Client", show: (row) => row.client_id || "–" }, { name: "topic", title: "Topic" },
        number("ready", "Ready"), number("inflight", "Unsettled"), number("consumers", "Connected"), oldest,
      ]} />`;
}

export function Subscriptions() {
  const [rows, error] = useRows("subscriptions", {}, { kinds: ["subscribed", "unsubscribed"] });
  return html`<h1>Subscriptions</h1><${Trouble} text=${error} />
    <${Table} name="subscriptions" rows=${rows} id=${(row) => `${row.connection} ${row.id}`} empty="Nobody is subscribed to anything."
      columns=${[
        { name: "destination", title: "Destination" }, { name: "connection", title: "Connection" },
        { name: "id", title: "Id", minor: true }, { name: "ack", title: "Ack" },
        number("unsettled", "Unsettled"), number("delivered", "Delivered"), number("dropped", "Dropped", { minor: true }),
        { name: "selector", title: "Selector", minor: true },
        { name: "prefetch_count", title: "Credit", number: true, minor: true,
          show: (row) => (row.prefetch_count ? format.count(row.prefetch_count) : "no limit") },
      ]} />`;
}

export function Connections() {
  const [rows, error, again] = useRows("connections", {}, { every: 3000, kinds: ["connected", "disconnected"] });
  const [kicked, setKicked] = useState(null);
  return html`<h1>Connections</h1><${Trouble} text=${error} />
    <${Table} name="connections" rows=${rows} id=${(row) => row.id} empty="There are none."
      columns=${[
        { name: "id", title: "Connection" }, { name: "peer", title: "Address" }, { name: "user", title: "User" },
        { name: "client_id", title: "Client", minor: true }, { name: "version", title: "STOMP" },
        number("subscriptions", "Subscriptions"), number("unsettled", "Unsettled"),
        number("sent", "Sent", { minor: true }), number("delivered", "Delivered", { minor: true }),
        { name: "outbox", title: "Outbox", number: true, minor: true, show: (row) => format.octets(row.outbox) },
        { name: "paused", title: "State", show: (row) => (row.paused
          ? html`<span class="mark" title=${row.paused_because.join("\n")}>waits</span>` : row.state) },
        { name: "age", title: "Age", number: true, show: (row) => format.age(row.age) },
        { name: "act", title: "", show: (row) => html`<button class="quiet" aria-label=${`Kick ${row.id}`}
          onClick=${() => setKicked(row)}>Kick</button>` },
      ]} />
    ${kicked && html`<${Ask} title=${`End connection ${kicked.id}?`} doing="Kick"
      text=${`${kicked.peer} gets an ERROR. What it has not settled goes to others.`}
      fields=${[{ name: "reason", label: "Reason", hint: "what the ERROR says" }]}
      onClose=${() => { setKicked(null); again(); }}
      onDo=${({ reason }) => call("kick", { connection: kicked.id, ...(reason && { reason }) })} />`}`;
}
