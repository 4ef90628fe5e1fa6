-- What stompd keeps, version 3: whose messages they are, where limits ask for that. See docs/store.md.

-- What a queue holds of each sender is counted at the start, without a look at the messages.
CREATE INDEX message_sender
    ON message (queue, iif(json_valid(more), json_extract(more, '$.sender'), NULL), size)
    WHERE iif(json_valid(more), json_extract(more, '$.sender'), NULL) IS NOT NULL;
