-- What keeps the cost of lists, counts and statistics from growing with the tables: tallies instead of counting, and an
-- index for each order and filter that a list has.

-- --- Tallies -----------------------------------------------------------------------------------------------------
--
-- A change adds rows of differences, in its own transaction. No row is ever updated, so nobody waits for anybody; the sum
-- is exact and current for whoever reads it. The worker replaces many rows by their sum from time to time. Triggers keep
-- the tallies, whatever it is that writes: this program, an older one beside it, or a person with psql.

create table order_tally (
    store_id bigint not null,
    status   text not null,
    orders   bigint not null,
    -- What they cost together.
    amount   numeric not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table stock_tally (
    store_id bigint not null,
    -- Stock rows, and how many of them are low.
    stocked  bigint not null,
    low      bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table product_tally (
    category_id bigint not null,
    products    bigint not null,
    active      bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- From here to the commit nobody else writes, so that nothing is counted twice or not at all.
lock table orders, product, inventory in share row exclusive mode;

-- --- Stock is listed by title ------------------------------------------------------------------------------------

-- The title stands in the stock row, so that an index can have a store's stock in the order of the list. The foreign key
-- holds it to the product's: a new title is carried over in the transaction that gives it.
alter table product add constraint product_id_title_key unique (id, title);
alter table inventory add column product_title varchar(200) collate "C";
update inventory set product_title = product.title from product where product.id = inventory.product_id;

-- Low rows have an index of their own. Orders change the quantity all the time, but this only where a row becomes low or
-- is so no more: everything else remains an update that touches no index.
alter table inventory
    alter column product_title set not null,
    add column is_low boolean not null generated always as (quantity <= low_stock_threshold) stored,
    drop constraint inventory_product_id_fkey,
    add constraint inventory_product_id_fkey foreign key (product_id, product_title)
        references product (id, title) on update cascade;

create index inventory_listing on inventory (store_id, product_title, id);
create index inventory_low on inventory (store_id, product_title, id) where is_low;

-- Whoever writes a stock row need not know of the title. The lock waits for a title that is just changing. A product that
-- does not exist has no title, and then the foreign key refuses the row.
create function take_product_title() returns trigger language plpgsql as $$
begin
    select title into new.product_title from product where id = new.product_id for key share;
    new.product_title := coalesce(new.product_title, '');
    return new;
end $$;

create trigger inventory_title_of_new before insert on inventory
    for each row when (new.product_title is null) execute function take_product_title();
create trigger inventory_title_of_other before update of product_id on inventory
    for each row when (new.product_id <> old.product_id) execute function take_product_title();

-- --- The search reads folded text --------------------------------------------------------------------------------

-- Folding costs more than comparing, and every match is compared. Title and description stand apart by a character that no
-- text has any use for.
alter table product add column search_text text not null
    generated always as (fold(title || chr(1114111) || description)) stored;
create index product_search on product using gin (search_text gin_trgm_ops) with (fastupdate = off) where is_active;
drop index product_title_trgm;
drop index product_description_trgm;

-- --- Orders and products are listed by what one filters them by ------------------------------------------------------

-- All orders of a store are its confirmed, rejected and pending ones, merged.
create index orders_by_store on orders (store_id, status, id);
create index orders_by_status on orders (status, id);
drop index orders_store_id;

create index product_by_category on product (category_id, title, id) where is_active;
create index product_by_price on product (price) where is_active;
-- Autocomplete looks for the spellings that there are in the index of the list.
drop index product_prefix;

-- --- How the tallies are kept ------------------------------------------------------------------------------------

create function tally_orders() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into order_tally (store_id, status, orders, amount)
        select store_id, status, count(*), sum(total_amount) from added group by store_id, status;
    elsif tg_op = 'DELETE' then
        insert into order_tally (store_id, status, orders, amount)
        select store_id, status, -count(*), -sum(total_amount) from removed group by store_id, status;
    elsif tg_op = 'UPDATE' then
        insert into order_tally (store_id, status, orders, amount)
        values (old.store_id, old.status, -1, -old.total_amount), (new.store_id, new.status, 1, new.total_amount);
    else
        truncate order_tally;
    end if;
    return null;
end $$;

create trigger orders_tally_insert after insert on orders
    referencing new table as added for each statement execute function tally_orders();
create trigger orders_tally_delete after delete on orders
    referencing old table as removed for each statement execute function tally_orders();
create trigger orders_tally_update after update on orders for each row
    when ((old.store_id, old.status, old.total_amount) is distinct from (new.store_id, new.status, new.total_amount))
    execute function tally_orders();
create trigger orders_tally_truncate after truncate on orders execute function tally_orders();

create function tally_stock() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into stock_tally (store_id, stocked, low)
        select store_id, count(*), count(*) filter (where is_low) from added group by store_id;
    elsif tg_op = 'DELETE' then
        insert into stock_tally (store_id, stocked, low)
        select store_id, -count(*), -count(*) filter (where is_low) from removed group by store_id;
    elsif tg_op = 'UPDATE' and old.store_id = new.store_id then
        insert into stock_tally (store_id, stocked, low)
        values (new.store_id, 0, new.is_low::integer - old.is_low::integer);
    elsif tg_op = 'UPDATE' then
        insert into stock_tally (store_id, stocked, low)
        values (old.store_id, -1, -old.is_low::integer), (new.store_id, 1, new.is_low::integer);
    else
        truncate stock_tally;
    end if;
    return null;
end $$;

create trigger inventory_tally_insert after insert on inventory
    referencing new table as added for each statement execute function tally_stock();
create trigger inventory_tally_delete after delete on inventory
    referencing old table as removed for each statement execute function tally_stock();
-- By row, with a condition: most updates are orders that change the quantity only, and those must cost nothing here.
create trigger inventory_tally_update after update on inventory for each row
    when (old.is_low <> new.is_low or old.store_id <> new.store_id) execute function tally_stock();
create trigger inventory_tally_truncate after truncate on inventory execute function tally_stock();

create function tally_products() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into product_tally (category_id, products, active)
        select category_id, count(*), count(*) filter (where is_active) from added group by category_id;
    elsif tg_op = 'DELETE' then
        insert into product_tally (category_id, products, active)
        select category_id, -count(*), -count(*) filter (where is_active) from removed group by category_id;
    elsif tg_op = 'UPDATE' then
        insert into product_tally (category_id, products, active)
        values (old.category_id, -1, -old.is_active::integer), (new.category_id, 1, new.is_active::integer);
    else
        truncate product_tally;
    end if;
    return null;
end $$;

create trigger product_tally_insert after insert on product
    referencing new table as added for each statement execute function tally_products();
create trigger product_tally_delete after delete on product
    referencing old table as removed for each statement execute function tally_products();
create trigger product_tally_update after update on product for each row
    when (old.category_id <> new.category_id or old.is_active <> new.is_active) execute function tally_products();
create trigger product_tally_truncate after truncate on product execute function tally_products();

-- What is there already.
insert into order_tally (store_id, status, orders, amount)
select store_id, status, count(*), sum(total_amount) from orders group by store_id, status;
insert into stock_tally (store_id, stocked, low)
select store_id, count(*), count(*) filter (where is_low) from inventory group by store_id;
insert into product_tally (category_id, products, active)
select category_id, count(*), count(*) filter (where is_active) from product group by category_id;
