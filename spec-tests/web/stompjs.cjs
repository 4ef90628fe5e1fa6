// A session of @stomp/stompjs with a broker: node stompjs.cjs LIBRARY URL VERSION
// Writes a JSON object of what it saw, a key a step.
"use strict";
const [library, url, version] = process.argv.slice(2);
const { Client, Versions } = require(library);
const { WebSocket } = require("./vendor/ws.cjs");

const seen = {};

function client(options) {
  return new Promise((resolve, reject) => {
    const made = new Client({
      stompVersions: new Versions([version]),
      webSocketFactory: () => new WebSocket(url, new Versions([version]).protocolVersions()),
      connectHeaders: { host: "/" },
      reconnectDelay: 0,
      onConnect: (frame) => resolve([made, frame]),
      onStompError: (frame) => reject(new Error(frame.headers.message)),
      onWebSocketError: (event) => reject(new Error(event.message)),
      ...options,
    });
    made.activate();
  });
}

// The next messages of a subscription, one promise each.
function mailbox(stomp, destination, headers) {
  const waiting = [];
  const come = [];
  const subscription = stomp.subscribe(
    destination,
    (message) => (waiting.length ? waiting.shift()(message) : come.push(message)),
    headers,
  );
  const next = () =>
    new Promise((resolve) => (come.length ? resolve(come.shift()) : waiting.push(resolve)));
  return { next, unsubscribe: () => subscription.unsubscribe() };
}

function receipt(stomp, act) {
  return new Promise((resolve) => {
    const id = `r-${Math.random()}`;
    stomp.watchForReceipt(id, () => resolve("receipt"));
    act(id);
  });
}

async function main() {
  const [stomp, connected] = await client({ heartbeatIncoming: 1000, heartbeatOutgoing: 1000 });
  seen.version = connected.headers.version || "1.0";
  seen.server = connected.headers.server.split("/")[0];

  const inbox = mailbox(stomp, `/queue/a${version}`);
  seen.receipt = await receipt(stomp, (id) =>
    stomp.publish({ destination: `/queue/a${version}`, body: "grüße \u{1F680}", headers: { receipt: id, "x-a": "b" } }),
  );
  const first = await inbox.next();
  seen.text = [first.body, first.headers["x-a"]];

  stomp.publish({ destination: `/queue/a${version}`, binaryBody: new Uint8Array([0, 255, 254, 0]) });
  seen.binary = [...(await inbox.next()).binaryBody];

  const large = "€".repeat(300000);
  stomp.publish({ destination: `/queue/a${version}`, body: large });
  seen.large = (await inbox.next()).body === large;
  inbox.unsubscribe();

  const explicit = mailbox(stomp, `/queue/b${version}`, { ack: "client-individual" });
  stomp.publish({ destination: `/queue/b${version}`, body: "again" });
  const nacked = await explicit.next();
  if (version === "1.0") {
    nacked.ack();
    seen.nack = "none in 1.0";
  } else {
    nacked.nack();
    const again = await explicit.next();
    seen.nack = again.headers.redelivered;
    again.ack();
  }

  const transaction = stomp.begin();
  stomp.publish({ destination: `/queue/b${version}`, body: "in it", headers: { transaction: transaction.id } });
  stomp.publish({ destination: `/queue/b${version}`, body: "before it" });
  seen.before = (await explicit.next()).body;
  transaction.commit();
  seen.committed = (await explicit.next()).body;

  await new Promise((resolve) => setTimeout(resolve, 1500));
  seen.alive = stomp.connected;
  await stomp.deactivate();
  seen.deactivated = !stomp.connected;

  const [splitting] = await client({ splitLargeFrames: true, maxWebSocketChunkSize: 1000, forceBinaryWSFrames: true });
  const split = mailbox(splitting, `/queue/c${version}`);
  splitting.publish({ destination: `/queue/c${version}`, body: large });
  seen.split = (await split.next()).body === large;

  seen.closed = await new Promise((resolve) => {
    let error = "";
    splitting.onStompError = (frame) => { error = frame.headers.message; };
    splitting.onWebSocketClose = (event) => resolve([error, event.code]);
    splitting.publish({ destination: "" });
  });
}

main().then(
  () => console.log(JSON.stringify(seen)),
  (error) => { console.error(error, JSON.stringify(seen)); process.exit(1); },
).then(() => process.exit(0));
