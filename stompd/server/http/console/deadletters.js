// Dead letters: where they are, what they died of, and back with them.

import { html, useState } from "./vendor/htm-preact.module.js";
import { call } from "./api.js";
import { key } from "./live.js";
import { Ask, Table, Trouble, queueLink, useRows } from "./parts.js";
import * as format from "./format.js";

export function DeadLetters() {
  const [rows, error, again] = useRows("dlq", {}, { kinds: ["dead-lettered", "queue-"] });
  const [asked, setAsked] = useState(null);
  const at = asked && { destination: asked.row.name, vhost: asked.row.vhost };
  return html`<h1>Dead letters</h1><${Trouble} text=${error} />
    <${Table} name="dead-letters" rows=${rows} id=${(row) => key(row.vhost, row.name)} first=${{ name: "ready", down: true }}
      empty="There are no dead letters, and no queue for them."
      columns=${[
        { name: "name", title: "Queue", show: (row) => html`<a href=${queueLink(row)}>${row.name}</a>` },
        { name: "sources", title: "From", value: (row) => row.sources[0] || "", show: (row) => row.sources.join(", ") || "–" },
        { name: "ready", title: "Ready", number: true, show: (row) => format.count(row.ready) },
        { name: "reasons", title: "Died of", value: (row) => Object.keys(row.reasons)[0] || "",
          show: (row) => Object.entries(row.reasons).map(([reason, n]) => `${reason} ${format.count(n)}`).join(", ") || "–" },
        { name: "oldest", title: "Oldest", number: true, show: (row) => format.age(row.oldest) },
        { name: "act", title: "", show: (row) => row.ready > 0 && html`
          <button class="quiet" onClick=${() => setAsked({ row, verb: "requeue" })}>Requeue all…</button>
          <button class="quiet danger" onClick=${() => setAsked({ row, verb: "purge" })}>Purge…</button>` },
      ]} />
    ${asked && asked.verb === "requeue" && html`<${Ask} title=${`Requeue ${format.count(asked.row.ready)} dead letters?`} doing="Requeue"
      text="Each goes back to where it came from, with all attempts before it."
      onClose=${() => { setAsked(null); again(); }} onDo=${() => call("requeue", at)} />`}
    ${asked && asked.verb === "purge" && html`<${Ask} title=${`Purge ${asked.row.name}?`} doing="Purge" typed=${asked.row.name}
      text="The dead letters are dropped. Nobody can bring them back."
      onClose=${() => { setAsked(null); again(); }} onDo=${() => call("purge", at)} />`}`;
}
