-- What stompd keeps, version 1. See docs/store.md.
--
-- Times are milliseconds since 1970-01-01 UTC. NULL stands for what a message does not have.

-- starts: how often it was opened; clean: 1 if it was closed in good order and not opened since.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('starts', 0), ('clean', 1);

-- What holds messages: a queue, that of a durable subscription, a topic for those that it delays,
-- or '/retained' and a topic's name for its last value. A name that is not UTF-8, or begins with a
-- quotation mark, is written as a JSON string.
CREATE TABLE queue (
    number INTEGER PRIMARY KEY,
    host   TEXT NOT NULL,
    name   TEXT NOT NULL,
    UNIQUE (host, name)
) STRICT;

-- The messages of one priority in a queue, and how many and how large they are: those that wait, and
-- those that are not due yet.
CREATE TABLE lane (
    number         INTEGER PRIMARY KEY,
    queue          INTEGER NOT NULL REFERENCES queue,
    priority       INTEGER NOT NULL,
    last_place     INTEGER NOT NULL DEFAULT 0,
    count          INTEGER NOT NULL DEFAULT 0,
    octets         INTEGER NOT NULL DEFAULT 0,
    delayed_count  INTEGER NOT NULL DEFAULT 0,
    delayed_octets INTEGER NOT NULL DEFAULT 0,
    UNIQUE (queue, priority)
) STRICT;

-- id is lane << 42 | place, so that a lane is one range, in the order of its messages.
CREATE TABLE message (
    id          INTEGER PRIMARY KEY,
    queue       INTEGER NOT NULL,
    -- What counts against limits: the body and the sender's headers.
    size        INTEGER NOT NULL,
    persistent  INTEGER NOT NULL,
    -- Header lines. With form NULL they are forwarded as they are; with 1 they are in the encoding of
    -- STOMP 1.2 and are encoded anew for each consumer.
    headers     TEXT NOT NULL,
    form        INTEGER,
    -- Attempts that failed, and whether it was delivered before.
    count       INTEGER,
    redelivered INTEGER,
    -- Not to be delivered before, and not from then on.
    due         INTEGER,
    expires     INTEGER,
    message_group TEXT,
    dedup_id    TEXT,
    -- JSON: what few messages have.
    more        TEXT,
    -- The body is in so many rows of `chunk`, and NULL here.
    chunks      INTEGER,
    body        BLOB
) STRICT;

CREATE INDEX message_due ON message (queue, due) WHERE due IS NOT NULL;
CREATE INDEX message_expires ON message (queue, expires) WHERE expires IS NOT NULL AND due IS NULL;
CREATE INDEX message_transient ON message (id) WHERE persistent = 0;

CREATE TABLE chunk (
    message INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    data    BLOB NOT NULL,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

-- Queues with settings of their own, durable subscriptions and bindings; key and record are JSON.
CREATE TABLE definition (
    kind   TEXT NOT NULL,
    key    TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE dedup (
    host     TEXT NOT NULL,
    name     TEXT NOT NULL,
    dedup_id TEXT NOT NULL,
    seen     INTEGER NOT NULL,
    PRIMARY KEY (host, name, dedup_id)
) STRICT, WITHOUT ROWID;

-- For people.

CREATE VIEW messages AS
SELECT queue.host, queue.name AS queue, lane.priority, message.id & 0x3ffffffffff AS place,
       message.id, message.persistent, message.headers,
       CASE WHEN chunks IS NULL THEN length(message.body)
            ELSE (SELECT sum(length(data)) FROM chunk WHERE chunk.message = message.id) END
           AS body_length,
       message.body,
       coalesce(message.count, 0) AS count,
       coalesce(message.redelivered, 0) AS redelivered,
       strftime('%Y-%m-%d %H:%M:%f', message.due / 1000.0, 'unixepoch') AS due,
       strftime('%Y-%m-%d %H:%M:%f', message.expires / 1000.0, 'unixepoch') AS expires,
       message.message_group, message.dedup_id, message.more
FROM message
JOIN lane ON lane.number = message.id >> 42
JOIN queue ON queue.number = lane.queue;

CREATE VIEW queues AS
SELECT queue.host, queue.name AS queue, sum(lane.count) AS count, sum(lane.octets) AS octets,
       sum(lane.delayed_count) AS delayed_count, sum(lane.delayed_octets) AS delayed_octets
FROM queue JOIN lane ON lane.queue = queue.number
GROUP BY queue.number;

CREATE VIEW subscriptions AS
SELECT json_extract(key, '$[0]') AS host, json_extract(key, '$[1]') AS client_id,
       json_extract(key, '$[2]') AS name, record
FROM definition WHERE kind = 'durable';
