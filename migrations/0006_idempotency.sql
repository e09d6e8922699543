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

-- For the purge. New rows go to its end, which is cheap; a summary by pages (brin) would be cheaper, but goes blind as soon
-- as pages are used again.
create index idempotency_key_age on idempotency_key (created_at);
