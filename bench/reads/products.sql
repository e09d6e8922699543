select (select coalesce(sum(active), 0)::bigint from product_tally) as count,
    p.id, p.title, p.description, p.price, c.id, c.name, p.is_active, p.created_at, p.updated_at
from (select * from product where is_active order by title, id limit 20) p
join category c on c.id = p.category_id order by p.title, p.id;
