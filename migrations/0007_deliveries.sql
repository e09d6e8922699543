-- What becomes of a confirmation beyond its row: the messages that tell of it, and the letters that nobody could deliver.
--
-- Servers and workers of the version before go on beside this: new columns have defaults or may be null, and a worker that
-- knows of no deliveries writes none.

alter table outbox
    -- How often a row was handed out. Older workers count `attempts` before they know whether Redis takes the job, and never
    -- give one back: what stands there says nothing, and is theirs alone.
    add column handouts integer not null default 0,
    -- What went wrong last.
    add column error   text,
    -- Since when the row is not handed out any more: it was, as often as it may be. `afforo jobs retry` makes it due again.
    add column dead_at timestamptz;
create index outbox_dead on outbox (dead_at, id) where dead_at is not null;

-- A message about a confirmed order to somebody outside. The row commits with the confirmation, one for each channel that
-- was configured then.
create table delivery (
    id           bigint generated always as identity primary key,
    order_id     bigint not null,
    channel      text not null,
    -- Names the message to its receiver, the same however often it is sent.
    message_id   uuid not null default gen_random_uuid(),
    -- When it may be handed out (again): its lease, or the end of the pause after a failure. Null when it is over.
    due_at       timestamptz default now(),
    -- How often it was sent.
    attempts     integer not null default 0,
    error        text,
    created_at   timestamptz not null default now(),
    delivered_at timestamptz,
    dead_at      timestamptz,
    constraint delivery_channel_check check (channel in ('email', 'webhook')),
    -- Either it is due some time, or it arrived, or it was given up.
    constraint delivery_state_check check (num_nonnulls(due_at, delivered_at, dead_at) = 1),
    constraint delivery_order_id_channel_key unique (order_id, channel)
);
create index delivery_due on delivery (channel, due_at) where due_at is not null;
create index delivery_delivered on delivery (delivered_at) where delivered_at is not null;
create index delivery_dead on delivery (channel, id) where dead_at is not null;
