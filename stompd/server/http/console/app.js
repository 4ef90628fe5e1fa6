// The console: which page is shown, and what stands round it.

import { html, render, useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.module.js";
import { currentLogin, onRefused, setLogin } from "./api.js";
import { live } from "./live.js";
import { Trouble, useLive } from "./parts.js";
import { Overview } from "./overview.js";
import { Connections, Queues, Subscriptions, Topics } from "./lists.js";
import { Queue } from "./queue.js";
import { DeadLetters } from "./deadletters.js";
import { Events, Tap } from "./watching.js";
import { SendPage } from "./send.js";

// Path, key behind g, title, page.
const PAGES = [
  ["", "o", "Overview", Overview],
  ["queues", "q", "Queues", Queues],
  ["topics", "t", "Topics", Topics],
  ["subscriptions", "s", "Subscriptions", Subscriptions],
  ["connections", "c", "Connections", Connections],
  ["dead-letters", "d", "Dead letters", DeadLetters],
  ["events", "e", "Events", Events],
  ["tap", "p", "Tap", Tap],
  ["send", "n", "Send", SendPage],
];
const MODES = {
  starting: "Connecting…",
  live: "Live",
  polling: "Polling: no WebSocket",
  refused: "Not allowed",
  offline: "No broker: trying again",
};
const THEMES = ["auto", "light", "dark"];

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  return { page, rest: decodeURIComponent(rest.join("/")), query: new URLSearchParams(query) };
}

const wide = matchMedia("(prefers-color-scheme: dark)");

function useTheme() {
  const [theme, setTheme] = useState(localStorage.getItem("theme") || "auto");
  const [, draw] = useState(0);
  useEffect(() => {
    const change = () => draw((n) => n + 1);
    wide.addEventListener("change", change);
    return () => wide.removeEventListener("change", change);
  }, []);
  const shown = theme === "auto" ? (wide.matches ? "dark" : "light") : theme;
  document.documentElement.dataset.theme = shown;
  const turn = useCallback(() => setTheme((now) => {
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    localStorage.setItem("theme", next);
    return next;
  }), []);
  return [theme, turn];
}

function Login({ onDone, error }) {
  const [user, setUser] = useState("");
  const [passcode, setPasscode] = useState("");
  const enter = (event) => {
    event.preventDefault();
    setLogin(user, passcode);
    onDone();
  };
  return html`<main class="login"><form onSubmit=${enter}>
    <h1>stompd</h1><${Trouble} text=${error} />
    <label>User <input name="user" autocomplete="username" required autofocus value=${user} onInput=${(event) => setUser(event.target.value)} /></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" value=${passcode}
      onInput=${(event) => setPasscode(event.target.value)} /></label>
    <div class="bar end"><button class="main">Log in</button></div></form></main>`;
}

function Said() {
  const [text, setText] = useState("");
  useEffect(() => {
    let timer = null;
    const said = (event) => {
      setText(event.detail);
      clearTimeout(timer);
      timer = setTimeout(() => setText(""), 6000);
    };
    addEventListener("said", said);
    return () => removeEventListener("said", said);
  }, []);
  return html`<div class="said" role="status">${text}</div>`;
}

function Keys({ onClose }) {
  const show = (element) => element && !element.open && element.showModal();
  return html`<dialog ref=${show} onClose=${onClose} aria-label="Keys"><h2>Keys</h2>
    <dl class="keys"><dt>/</dt><dd>filter</dd><dt>j, k</dt><dd>next, previous row</dd><dt>Enter</dt><dd>open the row</dd>
      ${PAGES.map(([, one, title]) => html`<dt>g ${one}</dt><dd>${title}</dd>`)}
      <dt>m</dt><dd>light, dark or as the system</dd><dt>?</dt><dd>this list</dd><dt>Esc</dt><dd>close</dd></dl>
    <form method="dialog" class="bar end"><button>Close</button></form></dialog>`;
}

// Move among the rows of the table.
function step(by) {
  const rows = [...document.querySelectorAll("tbody tr")];
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(rows.length - 1, Math.max(0, now + by))];
  const target = next.querySelector("a, button, input") || next;
  target.focus();
  next.scrollIntoView({ block: "nearest" });
}

function useKeys(turn, showKeys) {
  const before = useRef("");
  useEffect(() => {
    const press = (event) => {
      const typing = event.target.closest("input, textarea, select, dialog");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const was = before.current;
      before.current = event.key;
      if (was === "g") {
        const found = PAGES.find(([, one]) => one === event.key);
        before.current = "";
        if (found) { location.hash = `#/${found[0]}`; event.preventDefault(); }
        return;
      }
      const acts = {
        "/": () => document.querySelector(".filter, input[type=search]")?.focus(),
        "?": showKeys, m: turn, j: () => step(1), k: () => step(-1),
      };
      if (acts[event.key]) { acts[event.key](); event.preventDefault(); }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [turn]);
}

function App() {
  const [at, setAt] = useState(place());
  const [theme, turn] = useTheme();
  const [keys, setKeys] = useState(false);
  const [asking, setAsking] = useState(false);
  const { mode, error } = useLive();
  useKeys(turn, () => setKeys(true));
  useEffect(() => {
    document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [at.page, mode]);
  useEffect(() => {
    const move = () => { setAt(place()); scrollTo(0, 0); };
    addEventListener("hashchange", move);
    onRefused(() => { live.stop(); setAsking(true); });
    live.start();
    // A page that was left may be kept by the browser for the way back, with its connection open.
    const hide = () => live.stop();
    const back = (event) => event.persisted && live.start();
    addEventListener("pagehide", hide);
    addEventListener("pageshow", back);
    return () => {
      removeEventListener("hashchange", move);
      removeEventListener("pagehide", hide);
      removeEventListener("pageshow", back);
    };
  }, []);
  if (asking) return html`<${Login} error=${currentLogin() ? error : ""} onDone=${() => { setAsking(false); live.start(); }} />`;
  const [path, , title, Page] = PAGES.find(([one]) => one === at.page) || PAGES[0];
  const queue = at.page === "queue" ? at.rest : null;
  document.title = `${queue || title} – stompd`;
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <header><a class="brand" href="#/"><img src="console/icon.svg" alt="" width="22" height="22" /> stompd</a>
      <nav aria-label="Pages">${PAGES.map(([one, , name]) => html`<a href=${`#/${one}`}
        aria-current=${(queue ? one === "queues" : one === path) ? "page" : undefined}>${name}</a>`)}</nav>
      <div class="corner">
        <span class=${`mode ${mode}`} role="status" data-mode=${mode}>${MODES[mode]}</span>
        <button class="quiet" title="Light, dark or as the system (m)" onClick=${turn}>${theme}</button>
        <button class="quiet" aria-label="Keys" title="Keys (?)" onClick=${() => setKeys(true)}>?</button></div></header>
    <main id="main" tabindex="-1"><${Trouble} text=${mode === "refused" ? error : ""} />
      ${queue ? html`<${Queue} key=${queue} name=${queue} vhost=${at.query.get("vhost") || "/"} />` : html`<${Page} />`}</main>
    <${Said} />${keys && html`<${Keys} onClose=${() => setKeys(false)} />`}`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
