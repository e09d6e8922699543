-- Transfers of stock from one store to another.

create table transfer (
    id            bigint generated always as identity primary key,
    from_store_id bigint not null references store,
    to_store_id   bigint not null references store,
    status        text not null default 'DRAFT',
    -- The client's text, such as the number of a delivery note.
    reference     text,
    expected_at   timestamptz,
    -- Rises with every change of the transfer.
    version       integer not null default 1,
    shipped_at    timestamptz,
    created_at    timestamptz not null default statement_timestamp(),
    updated_at    timestamptz not null default statement_timestamp(),
    constraint transfer_status_check check (status in ('DRAFT', 'IN_TRANSIT', 'PARTIAL', 'RECEIVED', 'CANCELLED')),
    constraint transfer_stores_check check (from_store_id <> to_store_id)
);
create index transfer_from_store on transfer (from_store_id, id);
create index transfer_to_store on transfer (to_store_id, id);
create index transfer_reference on transfer (reference, id) where reference is not null;
-- Most transfers are finished.
create index transfer_open on transfer (status, id) where status in ('DRAFT', 'IN_TRANSIT', 'PARTIAL');

create table transfer_line (
    transfer_id bigint not null references transfer,
    product_id  bigint not null references product,
    quantity    integer not null,
    -- What left the source. Units of `quantity` that were not shipped are dropped.
    shipped     integer not null default 0,
    received    integer not null default 0,
    -- Arrived, but did not enter stock.
    damaged     integer not null default 0,
    lost        integer not null default 0,
    -- Went back to the source.
    returned    integer not null default 0,
    in_transit  integer not null generated always as (shipped - received - damaged - lost - returned) stored,
    primary key (transfer_id, product_id),
    constraint transfer_line_quantity_check check (quantity > 0 and shipped <= quantity),
    constraint transfer_line_counts_check check (least(shipped, received, damaged, lost, returned) >= 0),
    constraint transfer_line_settled_check check (received + damaged + lost + returned <= shipped)
);
create index transfer_line_by_product on transfer_line (product_id);
-- What is in transit to a stock row is summed from here.
create index transfer_line_in_transit on transfer_line (product_id) include (transfer_id, in_transit) where in_transit > 0;
