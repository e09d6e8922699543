select coalesce(sum(orders), 0)::bigint, coalesce(sum(orders) filter (where status = 'CONFIRMED'), 0)::bigint,
    coalesce(sum(orders) filter (where status = 'REJECTED'), 0)::bigint,
    coalesce(sum(orders) filter (where status = 'PENDING'), 0)::bigint,
    coalesce(sum(amount) filter (where status = 'CONFIRMED'), 0)
from order_tally;
