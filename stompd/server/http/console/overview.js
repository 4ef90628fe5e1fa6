// The whole broker at a glance.

import { html } from "./vendor/htm-preact.module.js";
import { Plot, Trouble, useLive, useRows } from "./parts.js";
import * as format from "./format.js";

function Tile({ title, value, note, link }) {
  const inner = html`<span class="title">${title}</span><strong>${value}</strong>
    <span class="soft">${note || "\u00a0"}</span>`;
  return link ? html`<a class="tile" href=${link}>${inner}</a>` : html`<div class="tile">${inner}</div>`;
}

export function Overview() {
  const { stats, times, columns } = useLive();
  const [health, error] = useRows("health");
  if (!stats) return html`<p class="wait">Waiting for the broker…</p>`;
  const store = stats.store;
  const disk = store.full ? "no room" : store.congested ? "behind" : store.kind === "memory" ? "nothing is kept" : "takes messages";
  return html`<h1>Overview</h1>
    <${Trouble} text=${error} />
    <div class="tiles">
      <${Tile} title="Ready" value=${format.count(stats.messages)} note="messages that wait" link="#/queues" />
      <${Tile} title="Unsettled" value=${format.count(stats.unsettled)} note="delivered, not settled" />
      <${Tile} title="In" value=${`${format.rate(stats.in_rate)}/s`} note=${`${format.count(stats.received)} so far`} />
      <${Tile} title="Out" value=${`${format.rate(stats.out_rate)}/s`} note=${`${format.count(stats.settled)} settled`} />
      <${Tile} title="Connections" value=${format.count(stats.connections)} note=${`${format.count(stats.paused_producers)} paused`} link="#/connections" />
      <${Tile} title="Queues" value=${format.count(stats.queues)} note=${`${format.count(stats.topics)} topics`} link="#/queues" />
      <${Tile} title="Dead letters" value=${format.count(stats.dead_lettered)} note="since the start" link="#/dead-letters" />
      <${Tile} title="Memory" value=${format.octets(stats.weight)}
        note=${stats.memory_mark ? `of ${format.octets(stats.memory_mark)}` : "no mark"} />
      <${Tile} title="Store" value=${store.file_bytes === null ? store.kind : format.octets(store.file_bytes)} note=${disk} />
      <${Tile} title="Uptime" value=${format.age(stats.uptime)} note=${stats.server} />
    </div>
    <div class="plots">
      <${Plot} title="Messages a second" times=${times} lines=${[["in", columns.in, "--one"], ["out", columns.out, "--two"]]} />
      <${Plot} title="Messages held" times=${times} lines=${[["ready", columns.ready, "--one"], ["unsettled", columns.unsettled, "--two"]]} />
    </div>
    ${health && html`<h2>Health</h2><ul class="checks">${health.checks.map((check) => html`
      <li class=${check.ok ? "good" : "bad"}><span aria-hidden="true">${check.ok ? "✓" : "✗"}</span>
        <b>${check.name}</b> ${check.text}</li>`)}</ul>`}`;
}
