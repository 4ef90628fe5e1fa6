-- What stompd keeps, version 2: with a journal beside it. See docs/store.md.

-- generation: which records of the journal belong to this file; 0 while it has no journal.
INSERT INTO meta VALUES ('generation', 0);
