-- What happens to an order after it was confirmed: cancellations, fulfilments and returns. While servers of the release before may
-- run, they are refused. The next migration validates the constraints, without a long lock.

alter table store
    -- An order of a tracked store is handed over by fulfilments; that of another store when it is confirmed.
    add column fulfillment text not null default 'IMMEDIATE',
    add constraint store_fulfillment_check check (fulfillment in ('IMMEDIATE', 'TRACKED'));

-- Null in place of false, 1 and 0: a plain order stores nothing more.
alter table orders
    -- Whether its store was tracked when it was placed.
    add column tracked boolean,
    -- Rises with every change of the order.
    add column version integer,
    add column refunded_amount numeric(12, 2),
    drop constraint orders_status_check,
    add constraint orders_status_check check (status in ('PENDING', 'CONFIRMED', 'REJECTED', 'CANCELLED')) not valid,
    add constraint orders_refunded_amount_check check (refunded_amount > 0 and refunded_amount <= total_amount) not valid;

-- What happened to the items of an order, from its first document on. One row for each item that a document names.
create table order_line_progress (
    order_id  bigint not null,
    item_id   bigint not null,
    -- That of the item.
    quantity  integer not null,
    cancelled integer not null default 0,
    fulfilled integer not null default 0,
    returned  integer not null default 0,
    -- Cancelled or returned units that were put back into stock.
    restocked integer not null default 0,
    primary key (order_id, item_id),
    constraint order_line_progress_counts_check check (least(cancelled, fulfilled, returned, restocked) >= 0),
    constraint order_line_progress_quantity_check check (cancelled + greatest(fulfilled, returned) <= quantity),
    constraint order_line_progress_restocked_check check (restocked <= cancelled + returned)
);

create table order_document (
    id            bigint generated always as identity primary key,
    order_id      bigint not null,
    kind          text not null,
    -- [{order_item_id, product_id, quantity, restocked, refund_amount}]
    items         json not null,
    reason        text,
    note          text,
    -- {carrier, number, url}
    tracking      json,
    refund_amount numeric(12, 2) not null default 0,
    -- The store that takes returned units, if it is another one.
    to_store_id   bigint references store,
    -- Such as `key:12`; null while the API is open.
    actor         text,
    actor_name    text,
    created_at    timestamptz not null default statement_timestamp(),
    constraint order_document_kind_check check (kind in ('CANCELLATION', 'FULFILLMENT', 'RETURN')),
    constraint order_document_refund_amount_check check (refund_amount >= 0)
);
create index order_document_by_order on order_document (order_id, id);
create index order_document_to_store on order_document (to_store_id) where to_store_id is not null;

-- Refunds of each store. Documents insert differences; the worker compacts them.
create table refund_tally (
    store_id  bigint not null,
    documents bigint not null,
    amount    numeric not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create function tally_refunds() returns trigger language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate refund_tally;
    elsif tg_op = 'DELETE' then
        insert into refund_tally (store_id, documents, amount) values (old.store_id, -1, -old.refunded_amount);
    else
        insert into refund_tally (store_id, documents, amount)
        values (new.store_id, 1, new.refunded_amount - coalesce(old.refunded_amount, 0));
    end if;
    return null;
end $$;
create trigger orders_refunds_update after update of refunded_amount on orders for each row
    when (new.refunded_amount is distinct from old.refunded_amount) execute function tally_refunds();
create trigger orders_refunds_delete after delete on orders for each row
    when (old.refunded_amount is not null) execute function tally_refunds();
create trigger orders_refunds_truncate after truncate on orders execute function tally_refunds();

alter table order_confirmation
    -- True if the order was cancelled before its confirmation was sent: none is sent then.
    add column withheld boolean;

insert into completed_upgrade (name, last_movement)
select 'order_documents', 0 where not exists (select from orders);

alter table opening_balance
    -- What the detached movements changed on hand beyond `quantity`.
    add column committed bigint not null default 0;
