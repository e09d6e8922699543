select (select coalesce(sum(orders), 0)::bigint from order_tally) as count,
    o.id, s.name, s.location, o.status, o.total_amount,
    (select count(*) from order_item i where i.order_id = o.id) as item_count, o.created_at
from (select * from orders order by id desc limit 20) o join store s on s.id = o.store_id order by o.id desc;
