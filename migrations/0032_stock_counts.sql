-- Stock counts: what was counted in a store, and what was applied of it.

create table stock_count (
    id                bigint generated always as identity primary key,
    store_id          bigint not null references store,
    status            text not null default 'OPEN',
    -- The scope: the products of a category, some products, or stock that was not counted since a time. All stock if all are null.
    category_id       bigint references category,
    product_ids       bigint[],
    not_counted_since timestamptz,
    -- Whether the expected units are hidden while it is open.
    blind             boolean not null,
    -- The client's text.
    reference         text,
    -- Rises with every change of the count.
    version           integer not null default 1,
    applied_at        timestamptz,
    created_at        timestamptz not null default statement_timestamp(),
    updated_at        timestamptz not null default statement_timestamp(),
    constraint stock_count_status_check check (status in ('OPEN', 'APPLIED', 'CANCELLED')),
    constraint stock_count_scope_check check (num_nonnulls(category_id, product_ids, not_counted_since) <= 1)
);
create index stock_count_store on stock_count (store_id, id);
create index stock_count_category on stock_count (category_id) where category_id is not null;
create index stock_count_reference on stock_count (reference, id) where reference is not null;

-- The result of the entries about a product.
create table stock_count_line (
    count_id    bigint not null references stock_count,
    product_id  bigint not null references product,
    counted     bigint not null,
    counted_at  timestamptz not null,
    -- Number of entries; 0 for stock that nobody counted and that was set to 0.
    entries     integer not null default 0,
    status      text not null default 'COUNTED',
    -- Units on hand at `counted_at` by the ledger, once the line is applied.
    on_hand     bigint,
    variance    bigint generated always as (counted - on_hand) stored,
    movement_id bigint,
    -- Why it failed, and how many units were sold beyond those that were counted.
    code        text,
    missing     bigint,
    primary key (count_id, product_id),
    constraint stock_count_line_counted_check check (counted >= 0),
    constraint stock_count_line_status_check check (status in ('COUNTED', 'APPLIED', 'SUPERSEDED', 'FAILED')),
    constraint stock_count_line_applied_check check ((status = 'APPLIED') = (on_hand is not null and movement_id is not null)),
    constraint stock_count_line_failed_check check ((status = 'FAILED') = (code is not null))
);
create index stock_count_line_by_product on stock_count_line (product_id);

-- What people counted. Nothing of it is lost when another entry counts.
create table stock_count_entry (
    count_id   bigint not null,
    product_id bigint not null,
    id         bigint generated always as identity,
    -- Units: a barcode's number of units is multiplied already.
    counted    integer not null,
    counted_at timestamptz not null,
    -- Whether it adds to earlier entries.
    is_added   boolean not null,
    actor      text,
    created_at timestamptz not null default statement_timestamp(),
    primary key (count_id, product_id, id),
    constraint stock_count_entry_line_fkey foreign key (count_id, product_id) references stock_count_line,
    constraint stock_count_entry_counted_check check (counted >= 0)
);

-- The latest movement of a stock row until a time. Times of a row never fall with its ids, so a binary search by the primary key
-- finds it: movements below `low` are not later than the time, and those from `high` on are.
create function movement_at(row_id bigint, until timestamptz)
    returns table (quantity_after integer, on_hand_after integer, created_at timestamptz) language sql stable as $$
    with recursive search (low, high) as (
        select case when newest.created_at <= until then newest.id + 1 else oldest.id end, newest.id + 1
        from (select id from stock_movement where inventory_id = row_id order by id limit 1) oldest
            cross join (select id, created_at from stock_movement where inventory_id = row_id order by id desc limit 1) newest
        union all
        select case when probe.created_at <= until then probe.id + 1 else low end,
            case when probe.created_at <= until then high else middle end
        from search cross join lateral (select (low + high) / 2 as middle) halved
            left join lateral (
                select id, created_at from stock_movement
                where inventory_id = row_id and id >= middle and id < high order by id limit 1
            ) probe on true
        where low < high
    )
    select quantity_after, on_hand_after, created_at from stock_movement
    where inventory_id = row_id and id < (select max(low) from search) order by id desc limit 1
$$;
