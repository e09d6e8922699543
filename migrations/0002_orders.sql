-- Orders, the ledger of every change of stock, and what is owed to a confirmed order afterwards.
--
-- Every order writes these tables, and foreign-key checks and index inserts are what costs most in a placement. So they
-- carry only the keys that nothing else guarantees. What a missing foreign key would guarantee, the lock protocol does:
-- whoever deletes a product, a store or a stock row locks its stock rows first, in the order (store_id, product_id) that
-- orders lock them in, then looks whether it was ever ordered, then deletes.

create table orders (
    id               bigint generated always as identity primary key,
    store_id         bigint not null,
    status           text not null,
    total_amount     numeric(12, 2) not null default 0,
    -- Never null: clients read an empty text for a confirmed order.
    rejection_reason text not null default '',
    -- [{product_id, code, requested, available}] of a rejected order. `json`, not `jsonb`: it is given back as it was
    -- written, with its fields in order and numbers of any size.
    rejections       json,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    constraint orders_status_check check (status in ('PENDING', 'CONFIRMED', 'REJECTED')),
    -- Kept: deleting a store must see orders that were placed without touching its stock.
    constraint orders_store_id_fkey foreign key (store_id) references store
);

-- "Newest first" is `id desc`, for all stores by the primary key and for one store by this.
create index orders_store_id on orders (store_id, id);
-- Orders are decided in the transaction that writes them, so this is all but always empty: it costs nothing, and finds
-- orders that were imported or left undecided.
create index orders_pending on orders (created_at) where status = 'PENDING';

create table order_item (
    order_id   bigint not null,
    id         bigint generated always as identity,
    product_id bigint not null,
    quantity   integer not null,
    -- The product's price when the order was placed.
    unit_price numeric(10, 2) not null,
    -- Items are read by order, in the order they were asked for; nothing looks one up by its id alone.
    primary key (order_id, id),
    constraint order_item_order_id_fkey foreign key (order_id) references orders,
    constraint order_item_quantity_check check (quantity > 0)
);

-- The ledger: one row for every change of a stock row's quantity, by whatever path, in the same transaction. The sum of
-- a row's deltas is its quantity, always. Rows outlive the stock row that they tell of.
create table stock_movement (
    inventory_id   bigint not null,
    id             bigint generated always as identity,
    -- ORDER: sold. INITIAL: the quantity a row was created with. ADJUSTMENT: set by hand. RETURN: given back by an order
    -- that timed out. REMOVAL: the row was deleted with this much left.
    kind           text not null,
    delta          integer not null,
    quantity_after integer not null,
    -- The order behind ORDER and RETURN.
    order_id       bigint,
    created_at     timestamptz not null default now(),
    primary key (inventory_id, id),
    constraint stock_movement_kind_check check (kind in ('ORDER', 'INITIAL', 'ADJUSTMENT', 'RETURN', 'REMOVAL'))
);

-- Confirmed orders whose confirmation is still owed, written with the order. A row leaves together with the insert of
-- the confirmation. Until then it is handed out on lease, again and again: losing a queue or a worker loses nothing.
create table outbox (
    order_id     bigint primary key,
    -- When the row may be handed out (again): its lease. Not indexed on purpose, the table is short and rows come and go.
    due_at       timestamptz not null default now(),
    -- How often it was handed out.
    attempts     integer not null default 0,
    created_at   timestamptz not null default now()
) with (
    -- Rows live for milliseconds: vacuum by number of dead rows, not by share of a table that is nearly empty.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, fillfactor = 60
);

-- That an order's confirmation went out: at most once, however often the job runs. Orders are never deleted, so there is
-- no foreign key to check.
create table order_confirmation (
    order_id     bigint primary key,
    confirmed_at timestamptz not null default now()
);

-- The daily report, one row a UTC day.
create table daily_order_report (
    day              date primary key,
    total_orders     bigint not null,
    confirmed_orders bigint not null,
    rejected_orders  bigint not null,
    pending_orders   bigint not null,
    total_revenue    numeric not null,
    created_at       timestamptz not null default now()
);
