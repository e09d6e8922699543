-- Adds active reservations of one unit each, spread over all stock rows: as many as the variable `reservations` says.
with made as (
    insert into reservation (store_id, expires_at, holder)
    select (array(select id from store order by id))[1 + n % (select count(*) from store)], now() + interval '1 day', ''
    from generate_series(1, :reservations) n
    returning id, store_id, expires_at
), stocked as (
    select i.id, i.store_id, i.product_id, row_number() over (partition by i.store_id order by i.id) as place,
        count(*) over (partition by i.store_id) as places
    from inventory i where i.quantity > 1000
)
insert into reservation_item (reservation_id, inventory_id, product_id, quantity, reserved, expires_at)
select m.id, s.id, s.product_id, 1, 1, m.expires_at
from (select *, row_number() over (partition by store_id order by id) as number from made) m
    join stocked s on s.store_id = m.store_id and s.place = 1 + m.number % s.places;
update inventory i set reserved = held.units
from (select inventory_id, sum(reserved) as units from reservation_item group by inventory_id) held
where i.id = held.inventory_id;
