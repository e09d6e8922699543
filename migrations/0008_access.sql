-- Who may do what, and who did it: the accounts of people, the keys of programs, and the audit log.
--
-- Servers and workers of the version before go on beside this: what is new in their tables may be null.

create table account (
    id            bigint generated always as identity primary key,
    username      varchar(150) collate "C" not null,
    email         varchar(254) not null default '',
    -- Argon2id, as a text that names its own parameters.
    password_hash text not null,
    -- A superuser also looks after accounts and keys, staff write, viewers read.
    role          text not null,
    -- The stores that the account is bound to; null: it is not.
    stores        bigint[],
    is_active     boolean not null default true,
    last_login_at timestamptz,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    constraint account_username_key unique (username),
    constraint account_role_check check (role in ('superuser', 'staff', 'viewer'))
);

create table session (
    -- SHA-256 of what the cookie says: who reads this table cannot be anybody.
    token_hash   bytea primary key,
    account_id   bigint not null,
    -- From where it was begun.
    address      text not null,
    user_agent   text not null,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    -- Whatever happens, it ends then.
    expires_at   timestamptz not null,
    constraint session_account_id_fkey foreign key (account_id) references account on delete cascade
);
create index session_account_id on session (account_id);
create index session_expires_at on session (expires_at);

-- Attempts to log in that have not succeeded, for as long as they hold back others.
create table login_attempt (
    id       bigint generated always as identity primary key,
    -- As it was typed, there need not be such an account.
    username varchar(150) collate "C" not null,
    address  text not null,
    at       timestamptz not null default now()
);
create index login_attempt_username on login_attempt (username, at);
create index login_attempt_address on login_attempt (address, at);
create index login_attempt_at on login_attempt (at);

create table api_key (
    id             bigint generated always as identity primary key,
    name           varchar(100) not null,
    -- HMAC-SHA256 of the whole key under a key derived from SECRET_KEY.
    mac            bytea not null,
    scopes         text[] not null,
    -- The stores that the key is bound to; null: it is not.
    stores         bigint[],
    created_at     timestamptz not null default now(),
    expires_at     timestamptz,
    revoked_at     timestamptz,
    -- To the minute.
    last_used_at   timestamptz,
    last_used_from text
);

-- The ledger tells who changed a quantity, and why where that was said. Null: the API was open, or an older server wrote it.
alter table stock_movement
    -- `key:12`, `account:3`, or `system`.
    add column actor  text,
    add column reason varchar(200);

-- What was done, and what was refused at the door of the console. Nothing in it is ever changed.
create table audit_log (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    -- `key:12`, `account:3`, `system`; null while the API is open to everyone.
    actor      text,
    -- What the actor was called then.
    actor_name text,
    address    text,
    request_id text,
    -- What was done: `store.changed`.
    action     text not null,
    -- To what: `store:12`.
    subject    text,
    -- What clients see of the subject; without secrets. `json`, not `jsonb`: fields stay in their order.
    before     json,
    after      json
);
create index audit_log_subject on audit_log (subject, id);
create index audit_log_actor on audit_log (actor, id);
-- Not of orders, which are most entries: placing one would pay for it, and the log itself is nearly a list of them.
create index audit_log_action on audit_log (action, id) where action <> 'order.placed';

create function refuse_to_forget() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is only added to';
end $$;
create trigger audit_log_is_only_added_to before update or delete or truncate on audit_log
    for each statement execute function refuse_to_forget();

-- Orders of a day. Ids follow the time, so a summary by pages finds them, and costs an order next to nothing.
create index orders_created_at on orders using brin (created_at) with (pages_per_range = 32, autosummarize = on);

-- The console lists also what is not for sale: beside the active products, which have their indexes.
create index product_inactive on product (title, id) where not is_active;
