-- One row of the outbox for all orders that a transaction confirmed, instead of one for each: a row is written, handed out
-- and removed, and that costs as much for many orders as for one.

alter table outbox
    drop constraint outbox_pkey,
    alter column order_id drop not null,
    add column id bigint generated always as identity primary key,
    add column order_ids bigint[];
update outbox set order_ids = array[order_id], order_id = null;
alter table outbox alter column order_ids set not null;
comment on column outbox.order_id is 'Older servers write it; it is carried over to order_ids.';

-- A server of the version before may still place orders. (A worker of that version confirms nothing any more.)
create function carry_over_order_id() returns trigger language plpgsql as $$
begin
    new.order_ids := array[new.order_id];
    new.order_id := null;
    return new;
end $$;
create trigger outbox_of_older_servers before insert on outbox
    for each row when (new.order_id is not null) execute function carry_over_order_id();
