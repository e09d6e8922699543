-- `orders_by_time` serves what this index did, and a second one costs each order.
--
-- Dropping it locks the table for an instant, against reading too, so it has a migration of its own.
drop index orders_created_at;
