// Requests to the broker over HTTP: the admin verbs, with the log-in if there is one.

let authorization = null;
let login = null;
const refused = new Set();

// Called whenever somebody has to log in.
export const onRefused = (listener) => refused.add(listener);

// Who is logged in, for STOMP as well: {user, passcode}, or null.
export const currentLogin = () => login;

export function setLogin(user, passcode) {
  login = { user, passcode };
  const octets = new TextEncoder().encode(`${user}:${passcode}`);
  authorization = `Basic ${btoa(String.fromCharCode(...octets))}`;
}

export class RefusedError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// Return the result of a verb; throws RefusedError, or a TypeError where there is no broker.
export async function call(verb, fields = {}) {
  // The mark is what no page of somebody else can send.
  const headers = { "content-type": "application/json", "x-stompd-request": "console" };
  if (authorization) headers.authorization = authorization;
  const response = await fetch(`api/v1/${verb}`, {
    method: "POST",
    headers,
    body: JSON.stringify(fields),
  });
  const reply = await response.json();
  if (reply.ok) return reply.result;
  if (response.status === 401) for (const listener of refused) listener();
  throw new RefusedError(reply.error.code, reply.error.message);
}
