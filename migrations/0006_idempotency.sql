-- Answers that can be given again: a client that repeats a POST under the same Idempotency-Key gets what it got the first
-- time, and nothing is done twice. A row commits with what the request has done, or not at all.

create table idempotency_key (
    key         text collate "C" primary key,
    -- A hash of method, path and body: the key is for this request and no other.
    fingerprint bytea not null,
    -- The answer. `text`, not `json`: it is given back to the byte.
    status      smallint not null,
    body        text not null,
    -- Kept for a day, then purged.
    created_at  timestamptz not null default now()
);

-- Rows come in the order of their times and are purged in that order: a summary of each part of the table finds the old
-- ones, and costs the requests that write next to nothing.
create index idempotency_key_age on idempotency_key using brin (created_at) with (pages_per_range = 32);
