-- What clients keep with an order: their reference, the customer, a note and metadata. An order without them stores nothing more.
alter table orders
    add column external_reference varchar(100),
    -- {"reference", "name", "email", "phone"}, as far as they are given.
    add column customer jsonb,
    add column note varchar(2000),
    -- Texts by key.
    add column metadata jsonb;

-- The order that has a reference in its store. A rejected order has none, so that it can be sent again. No unique index on `orders`
-- does this, because one of a partitioned table has to include the id.
create table order_reference (
    store_id  bigint not null,
    reference varchar(100) collate "C" not null,
    order_id  bigint not null,
    primary key (store_id, reference)
);

-- The texts by which orders are found, of orders of any status. A table, not an index of `orders`: it has the orders of a
-- text in their sequence, and no migration has to read all orders, which may be partitioned.
create table order_key (
    kind     text not null,
    key      text collate "C" not null,
    order_id bigint not null,
    primary key (kind, key, order_id),
    constraint order_key_kind_check check (kind in ('REFERENCE', 'CUSTOMER'))
);

-- Cut off, because folding can lengthen a text beyond what an index takes.
create function order_customer_key(value text) returns text
    language sql immutable strict parallel safe
    return left(search_fold(value), 300);

create function order_keys(external_reference text, customer jsonb) returns table (kind text, key text)
language sql immutable parallel safe as $$
    select 'REFERENCE', external_reference where external_reference is not null
    union
    select 'CUSTOMER', order_customer_key(value) from jsonb_each_text(customer) as member (name, value)
    where name in ('reference', 'email', 'phone')
$$;

create function keep_order_keys() returns trigger language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate order_key, order_reference;
        return null;
    end if;
    if tg_op <> 'INSERT' then
        delete from order_key where order_id = old.id
            and (kind, key) in (select k.kind, k.key from order_keys(old.external_reference, old.customer) k);
    end if;
    if tg_op = 'DELETE' then
        delete from order_reference
        where store_id = old.store_id and reference = old.external_reference and order_id = old.id;
    else
        insert into order_key (kind, key, order_id)
        select k.kind, k.key, new.id from order_keys(new.external_reference, new.customer) k;
    end if;
    return null;
end $$;

-- By row, with a condition: other orders cost nothing here.
create trigger orders_keys_insert after insert on orders for each row
    when (new.external_reference is not null or new.customer is not null) execute function keep_order_keys();
create trigger orders_keys_update after update of external_reference, customer on orders for each row
    when ((old.external_reference, old.customer) is distinct from (new.external_reference, new.customer))
    execute function keep_order_keys();
create trigger orders_keys_delete after delete on orders for each row
    when (old.external_reference is not null or old.customer is not null) execute function keep_order_keys();
create trigger orders_keys_truncate after truncate on orders execute function keep_order_keys();
