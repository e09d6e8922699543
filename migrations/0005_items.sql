-- An item is written in the same statement as its order, and orders are never deleted: nothing but a hand could break what
-- this key guarantees, and `afforo check` would tell. Checking it for each item was a sixth of what writing orders costs.

alter table order_item drop constraint order_item_order_id_fkey;
