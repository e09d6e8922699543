-- The records that replace history: `afforo partitions detach` takes old partitions of `orders`, `order_item` and
-- `stock_movement` away, and notes here what counters, stock and deletions still need to know of them.
--
-- A server of the previous version works beside this migration, but not beside a detached partition.

-- Where the history begins.
create table history_start (
    -- Orders and items of orders below this id are detached.
    first_order_id    bigint not null default 0,
    -- Movements below this id are detached.
    first_movement_id bigint not null default 0,
    -- The time of the newest detached order.
    detached_until    timestamptz not null default '-infinity',
    singleton         boolean primary key default true check (singleton)
);
insert into history_start default values;

-- The sums of the detached movements of a stock row.
create table opening_balance (
    inventory_id bigint primary key,
    quantity     integer not null,
    -- The part of the sum that orders caused: negative if an order took units.
    order_delta  bigint not null
);

-- The number and amount of the detached orders of a store.
create table detached_orders (
    store_id bigint not null,
    status   text not null,
    orders   bigint not null,
    amount   numeric not null,
    primary key (store_id, status)
);

-- A count is valid for the history that it was made in: detaching removes movements that it includes.
alter table movement_count add column first_movement_id bigint not null default 0;
