// What several pages are made of.

import {
  html, useCallback, useEffect, useMemo, useRef, useState,
} from "./vendor/htm-preact.module.js";
import { call } from "./api.js";
import { live } from "./live.js";
import * as format from "./format.js";

// Draw again whenever the broker has told something.
export function useLive() {
  const [, draw] = useState(0);
  useEffect(() => {
    const change = () => draw((n) => n + 1);
    live.addEventListener("change", change);
    return () => live.removeEventListener("change", change);
  }, []);
  return live;
}

// Return [result, error, again] of a verb that only looks; asked now, now and then, and when
// something has happened that is one of the `kinds`.
export function useRows(verb, fields = {}, { every = 5000, kinds = [] } = {}) {
  const [state, setState] = useState([null, ""]);
  const text = JSON.stringify(fields);
  const again = useCallback(async () => {
    try {
      setState([await call(verb, JSON.parse(text)), ""]);
    } catch (error) {
      setState(([rows]) => [rows, error.message]);
    }
  }, [verb, text]);
  useEffect(() => {
    let soon = null;
    setState([null, ""]);
    again();
    const timer = setInterval(again, every);
    const mode = () => live.mode === "live" && again();
    const happened = (event) => {
      if (!soon && kinds.some((kind) => event.detail.event.startsWith(kind)))
        soon = setTimeout(() => { soon = null; again(); }, 250);
    };
    live.addEventListener("mode", mode);
    live.addEventListener("happened", happened);
    return () => {
      clearInterval(timer);
      clearTimeout(soon);
      live.removeEventListener("mode", mode);
      live.removeEventListener("happened", happened);
    };
  }, [again, every]);
  return [...state, again];
}

export function Trouble({ text }) {
  return text ? html`<p class="trouble" role="alert">${text}</p>` : null;
}

// A line of the last minutes, as small as a word.
export function Spark({ values, label }) {
  const shown = values.slice(-120);
  const most = Math.max(1, ...shown);
  const span = Math.max(30, shown.length);
  const points = shown
    .map((v, at) => `${((at + span - shown.length) / (span - 1)) * 100},${19 - (v / most) * 18}`)
    .join(" ");
  return html`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img"
    aria-label=${`${label}: now ${format.count(shown.at(-1) ?? 0)}, at most ${format.count(Math.max(0, ...shown))}`}>
    ${shown.length > 1 && html`<polyline points=${points} vector-effect="non-scaling-stroke" />`}
  </svg>`;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Lines over time; `lines` is [[label, values, colour]].
export function Plot({ title, times, lines, height = 180 }) {
  const box = useRef(null);
  const plot = useRef(null);
  const theme = document.documentElement.dataset.theme;
  const data = [times, ...lines.map(([, values]) => values)];
  useEffect(() => {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    plot.current = new uPlot(
      {
        width: box.current.clientWidth || 300,
        height,
        cursor: { y: false },
        scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
        axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map((v) => format.time(v * 1000)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map((v) => format.count(v)) }],
        series: [
          { value: (_, v) => (v === null ? "–" : format.time(v * 1000)) },
          ...lines.map(([label, , name]) => ({
            label, stroke: colour(name), width: 2, points: { show: false },
            value: (_, v) => (v === null ? "–" : format.rate(v)),
          })),
        ],
      },
      data, box.current,
    );
    const watch = new ResizeObserver(() =>
      plot.current.setSize({ width: box.current.clientWidth, height }));
    watch.observe(box.current);
    return () => { watch.disconnect(); plot.current.destroy(); };
  }, [theme, lines.length]);
  useEffect(() => { plot.current.setData(data); }, [times.at(-1), times.length]);
  return html`<figure class="plot"><figcaption>${title}</figcaption><div ref=${box}></div></figure>`;
}

const compare = (a, b) => {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "string" ? a.localeCompare(b) : a - b;
};

const PAGE = 200;

// Rows that can be sorted and filtered. A column is {name, title, value, show, number, minor}:
// `show` makes what is seen, `value` is sorted by; what is `minor` has no room on a phone.
export function Table({ name, columns, rows, id, empty, first, filter = true, selected, onSelect }) {
  const [order, setOrder] = useState(first || { name: columns[0].name, down: false });
  const [text, setText] = useState("");
  const [most, setMost] = useState(PAGE);
  const wanted = text.toLowerCase();
  const shown = useMemo(() => {
    const column = columns.find((one) => one.name === order.name) || columns[0];
    const value = column.value || ((row) => row[column.name]);
    const fitting = (rows || []).filter((row) =>
      !wanted || Object.values(row).some((v) => typeof v === "string" && v.toLowerCase().includes(wanted)));
    return fitting.sort((a, b) => compare(value(a), value(b)) * (order.down ? -1 : 1));
  }, [rows, wanted, order]);
  const turn = (column) =>
    setOrder({ name: column.name, down: order.name === column.name ? !order.down : Boolean(column.number) });
  if (rows === null) return html`<p class="wait">Asking the broker…</p>`;
  const all = selected && shown.length > 0 && shown.every((row) => selected.has(id(row)));
  const toggle = (keys, on) => {
    const next = new Set(selected);
    for (const one of keys) if (on) next.add(one); else next.delete(one);
    onSelect(next);
  };
  return html`<div class="table" data-table=${name}>
    ${filter && html`<div class="bar">
      <input type="search" class="filter" placeholder="Filter (press /)" aria-label=${`Filter ${name}`}
        value=${text} onInput=${(event) => setText(event.target.value)} />
      <span class="soft">${format.count(shown.length)} of ${format.count(rows.length)}</span></div>`}
    ${shown.length === 0
      ? html`<p class="empty">${rows.length ? "Nothing fits the filter." : empty}</p>`
      : html`<table>
        <thead><tr>
          ${selected && html`<th class="pick"><input type="checkbox" aria-label="All" checked=${all}
            onChange=${(event) => toggle(shown.map(id), event.target.checked)} /></th>`}
          ${columns.map((column) => html`<th key=${column.name}
            class=${`${column.number ? "number" : ""} ${column.minor ? "minor" : ""}`}
            aria-sort=${order.name === column.name ? (order.down ? "descending" : "ascending") : "none"}>
            ${column.title && html`<button class="head" onClick=${() => turn(column)}>${column.title}</button>`}</th>`)}
        </tr></thead>
        <tbody>${shown.slice(0, most).map((row) => html`<tr key=${id(row)} data-row=${id(row)}>
          ${selected && html`<td class="pick"><input type="checkbox" aria-label=${`Choose ${id(row)}`}
            checked=${selected.has(id(row))} onChange=${(event) => toggle([id(row)], event.target.checked)} /></td>`}
          ${columns.map((column) => html`<td key=${column.name} data-label=${column.title}
            class=${`${column.number ? "number" : ""} ${column.minor ? "minor" : ""}`}>
            ${(column.show || ((one) => one[column.name] ?? "–"))(row)}</td>`)}
        </tr>`)}</tbody></table>`}
    ${shown.length > most && html`<button onClick=${() => setMost(most + 5 * PAGE)}>Show more</button>`}
  </div>`;
}

// A question before something is done; `typed` has to be typed for it to be done.
export function Ask({ title, text, doing, typed, fields = [], onDo, onClose }) {
  const dialog = useRef(null);
  const [word, setWord] = useState("");
  const [values, setValues] = useState(Object.fromEntries(fields.map((f) => [f.name, f.value || ""])));
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => { dialog.current.showModal(); }, []);
  const act = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const outcome = await onDo(values);
      say(outcome);
      onClose();
    } catch (problem) {
      setError(problem.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-label=${title}>
    <form onSubmit=${act}>
      <h2>${title}</h2>
      <p>${text}</p>
      ${fields.map((field) => html`<label>${field.label}
        <input name=${field.name} required=${field.required} placeholder=${field.hint || ""}
          value=${values[field.name]}
          onInput=${(event) => setValues({ ...values, [field.name]: event.target.value })} /></label>`)}
      ${typed && html`<label><span>Type <code>${typed}</code> to go on</span>
        <input class="typed" autocomplete="off" value=${word} onInput=${(event) => setWord(event.target.value)} /></label>`}
      <${Trouble} text=${error} />
      <div class="bar end">
        <button type="button" onClick=${() => dialog.current.close()}>Cancel</button>
        <button class="danger" disabled=${busy || (typed && word !== typed)}>${doing}</button>
      </div>
    </form></dialog>`;
}

// What was done, for some seconds, in a corner.
export function say(outcome) {
  if (!outcome) return;
  const text = typeof outcome === "string" ? outcome
    : `${format.count(outcome.done)} done${outcome.failed ? `, ${outcome.failed} failed: ${outcome.reasons.join("; ")}` : ""}`;
  dispatchEvent(new CustomEvent("said", { detail: text }));
}

export const queueLink = (row) =>
  `#/queue/${encodeURIComponent(row.name)}?vhost=${encodeURIComponent(row.vhost || "/")}`;

export function Headers({ headers }) {
  return html`<dl class="headers">${Object.entries(headers).map(([name, value]) => html`
    <dt>${format.visible(name)}</dt><dd>${format.visible(value)}</dd>`)}</dl>`;
}

// A body as text, whatever it holds, or as octets if it is none.
export function Body({ row }) {
  if (row.body_base64 !== undefined) return html`<pre class="body">${format.dump(row.body_base64)}</pre>`;
  if (!row.body) return html`<p class="soft">No body.</p>`;
  let text = row.body;
  if ((row.headers["content-type"] || "").includes("json") && !row.truncated) {
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is shown as it is. */ }
  }
  return html`<pre class="body">${format.visible(text)}</pre>
    ${row.truncated && html`<p class="soft">This is its beginning.</p>`}`;
}
