// What the broker tells of itself, as it happens: by STOMP over WebSocket, or else by asking.
//
// mode   "live": STOMP; "polling": asking; "offline": nobody answers; "starting"

import { call, currentLogin } from "./api.js";

const KEPT = 300; // seconds of history
const EVENTS = 500;
const POLL = 2000;
const RETRY = 2000;

const url = () => {
  const here = new URL("ws", document.baseURI);
  here.protocol = here.protocol === "https:" ? "wss:" : "ws:";
  return here.href;
};

export function connectHeaders() {
  const login = currentLogin();
  return login ? { login: login.user, passcode: login.passcode } : {};
}

export function client(options) {
  return new StompJs.Client({
    brokerURL: url(),
    connectHeaders: connectHeaders(),
    heartbeatIncoming: 10000,
    heartbeatOutgoing: 10000,
    reconnectDelay: 0,
    ...options,
  });
}

const push = (list, value) => {
  list.push(value);
  if (list.length > KEPT) list.shift();
};

export const key = (vhost, name) => `${vhost} ${name}`;

class Live extends EventTarget {
  mode = "starting";
  stats = null;
  error = "";
  events = [];
  eventCount = 0;
  // Columns over time, for plots.
  times = [];
  columns = { in: [], out: [], ready: [], unsettled: [], connections: [] };
  // By key: {ready, in_rate, …} as told last, and {ready: [], in: [], out: []} over time.
  queues = new Map();
  histories = new Map();
  stomp = null;
  #timer = null;
  #drawing = false;

  start() {
    this.stop();
    this.stomp = client({ reconnectDelay: RETRY });
    this.stomp.beforeConnect = () => {
      this.stomp.connectHeaders = connectHeaders();
    };
    this.stomp.onConnect = () => this.#connected();
    this.stomp.onWebSocketClose = () => this.#closed();
    this.stomp.onStompError = (frame) => {
      this.error = frame.headers.message;
    };
    this.stomp.activate();
    this.#timer = setInterval(() => this.mode === "live" || this.#poll(), POLL);
    this.#poll();
  }

  stop() {
    clearInterval(this.#timer);
    // A page that is left has no time for a receipt.
    if (this.stomp) this.stomp.deactivate({ force: true });
  }

  #set(mode) {
    if (mode === this.mode) return;
    this.mode = mode;
    this.dispatchEvent(new Event("mode"));
    this.#changed();
  }

  // Tell who shows something, at most once a frame.
  #changed() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => {
      this.#drawing = false;
      this.dispatchEvent(new Event("change"));
    }, 50);
  }

  #connected() {
    const on = (topic, take) =>
      this.stomp.subscribe(`/topic/$SYS/${topic}`, (message) => take(JSON.parse(message.body)));
    // They come one behind the other, once a second.
    let stats = null;
    on("stats/broker", (told) => {
      stats = told;
    });
    on("stats/queues", ({ queues }) => {
      if (stats) this.#note(stats, queues);
    });
    on("events/#", (event) => this.#happened(event));
    this.error = "";
    this.#set("live");
  }

  #closed() {
    if (this.mode === "live") this.#set("polling");
  }

  async #poll() {
    try {
      const [stats, queues] = await Promise.all([call("stats"), call("queues")]);
      if (this.mode === "live") return;
      this.#set("polling");
      this.#note({ time: Date.now(), ...stats }, queues);
    } catch (error) {
      if (this.mode === "live") return;
      this.error = error.code ? error.message : "";
      this.#set(error.code ? "refused" : "offline");
      this.#changed();
    }
  }

  #note(stats, queues) {
    this.stats = stats;
    push(this.times, stats.time / 1000);
    push(this.columns.in, stats.in_rate);
    push(this.columns.out, stats.out_rate);
    push(this.columns.ready, stats.messages);
    push(this.columns.unsettled, stats.unsettled);
    push(this.columns.connections, stats.connections);
    const told = new Map((queues || []).map((row) => [key(row.vhost || "/", row.name), row]));
    for (const name of told.keys())
      if (!this.histories.has(name)) this.histories.set(name, { ready: [], in: [], out: [] });
    this.queues = told;
    for (const [name, history] of this.histories) {
      // Of one that nothing is told of there is nothing to tell.
      const row = told.get(name);
      push(history.ready, row ? row.ready : 0);
      push(history.in, row ? row.in_rate : 0);
      push(history.out, row ? row.out_rate : 0);
    }
    this.#changed();
  }

  #happened(event) {
    this.eventCount += 1;
    this.events.unshift({ ...event, n: this.eventCount });
    if (this.events.length > EVENTS) this.events.pop();
    if (event.event === "queue-deleted")
      this.histories.delete(key("/", event.queue));
    this.dispatchEvent(new CustomEvent("happened", { detail: event }));
    this.#changed();
  }

  history(vhost, name) {
    return this.histories.get(key(vhost, name)) || { ready: [], in: [], out: [] };
  }
}

export const live = new Live();

// Send a message on a connection of its own, so that an ERROR ends nothing else; resolves when the
// broker has it.
export function send({ destination, body, headers }) {
  return new Promise((resolve, reject) => {
    const stomp = client({});
    const end = (settle, value) => {
      stomp.onWebSocketClose = () => {};
      stomp.deactivate();
      settle(value);
    };
    stomp.onConnect = () => {
      stomp.watchForReceipt("sent", () => end(resolve));
      stomp.publish({ destination, body, headers: { ...headers, receipt: "sent" } });
    };
    stomp.onStompError = (frame) =>
      end(reject, new Error(`${frame.headers.message}: ${frame.body}`.trim()));
    stomp.onWebSocketClose = () => end(reject, new Error("there is no connection to the broker"));
    stomp.activate();
  });
}
