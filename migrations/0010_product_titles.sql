-- An order shows the title that a product had when it was placed. Orders are placed far more often than products are renamed,
-- so it is the rename that writes, and an order item stays as small as it is.

-- Titles that products no longer have, and until when they had them.
create table product_title (
    product_id bigint not null,
    title      varchar(200) collate "C" not null,
    until      timestamptz not null
);
create index product_title_until on product_title (product_id, until);

create function keep_title() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        insert into product_title (product_id, title, until) values (old.id, old.title, clock_timestamp());
    elsif tg_op = 'DELETE' then
        delete from product_title where product_id = old.id;
    else
        truncate product_title;
    end if;
    return null;
end $$;

-- Deferred to the commit: orders that are placed while a rename waits for locks still have the old title. By a trigger, so that
-- whatever renames a product does so, servers of the version before included.
create constraint trigger product_title_kept after update of title on product deferrable initially deferred
    for each row when (old.title <> new.title) execute function keep_title();
create trigger product_title_deleted after delete on product for each row execute function keep_title();
create trigger product_title_truncated after truncate on product execute function keep_title();

-- The title of a product at a time; null where there is no such product and never was.
create function title_at(of_product bigint, placed_at timestamptz) returns text
    language sql stable parallel safe
    return coalesce(
        (select t.title from product_title t where t.product_id = of_product and t.until > placed_at order by t.until limit 1),
        (select p.title from product p where p.id = of_product)
    );
