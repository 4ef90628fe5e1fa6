// How values are written for people.

export const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-US"));

export const rate = (n) => (n ? n.toLocaleString("en-US", { maximumFractionDigits: 1 }) : "0");

export function octets(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${at && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return "0s";
  const s = Math.floor(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

export const time = (ms) => new Date(ms).toLocaleTimeString("en-GB");

export const clock = (ms) => new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");

// Return base64 as the rows of a hex dump.
export function dump(base64) {
  const raw = atob(base64);
  const rows = [];
  for (let at = 0; at < raw.length && at < 4096; at += 16) {
    const part = [...raw.slice(at, at + 16)].map((c) => c.charCodeAt(0));
    const hex = part.map((o) => o.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((o) => (o >= 32 && o < 127 ? String.fromCharCode(o) : ".")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return rows.join("\n");
}

// Make characters visible that would play tricks on the eye: controls, and those that turn text round.
export const visible = (text) =>
  text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (c) => (c === "\r" ? "\u240d" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
