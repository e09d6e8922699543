-- Units that are promised for a time, such as to a cart during checkout. While servers of the release before may run, reservations
-- are refused: those would sell reserved units.

create table reservation (
    id         bigint generated always as identity primary key,
    store_id   bigint not null references store,
    status     text not null default 'ACTIVE',
    expires_at timestamptz not null,
    -- Whether reserved units were given up because the store did not have them.
    stock_lost boolean not null default false,
    -- The latest order that took units from it.
    order_id   bigint,
    -- The client's own.
    reference  text,
    metadata   jsonb,
    -- Who may have no more than a number of them: the actor, or the address while the API is open.
    holder     text not null,
    -- Such as `key:12`; null while the API is open.
    actor      text,
    actor_name text,
    created_at timestamptz not null default statement_timestamp(),
    updated_at timestamptz not null default statement_timestamp(),
    constraint reservation_status_check check (status in ('ACTIVE', 'CONSUMED', 'RELEASED', 'EXPIRED'))
);
create index reservation_by_store on reservation (store_id, id);
create index reservation_by_reference on reservation (reference, id) where reference is not null;
create index reservation_by_holder on reservation (store_id, holder) where status = 'ACTIVE';
create index reservation_ended on reservation (updated_at) where status <> 'ACTIVE';

-- An item changes only while its stock row is locked, so `inventory.reserved` is the sum of `reserved`.
create table reservation_item (
    reservation_id bigint not null references reservation on delete cascade,
    inventory_id   bigint not null,
    product_id     bigint not null references product,
    -- What the client asked for.
    quantity       integer not null,
    -- What is left of it.
    reserved       integer not null,
    -- That of the reservation.
    expires_at     timestamptz not null,
    primary key (reservation_id, inventory_id),
    constraint reservation_item_reserved_check check (reserved between 0 and quantity)
);
create index reservation_item_by_row on reservation_item (inventory_id, expires_at) where reserved > 0;
create index reservation_item_by_expiry on reservation_item (expires_at) where reserved > 0;
create index reservation_item_by_product on reservation_item (product_id);

-- The units of a stock row that are reserved now. `inventory.reserved` also has those that have expired and were not needed since.
create function reserved_now(row_id bigint, reserved integer) returns integer stable language sql as $$
    select case when $2 = 0 then 0 else $2 - coalesce((
        select sum(i.reserved)::integer from reservation_item i
        where i.inventory_id = $1 and i.reserved > 0 and i.expires_at <= statement_timestamp()
    ), 0) end
$$;

insert into completed_upgrade (name, last_movement)
select 'reservations', 0 where not exists (select from orders);
