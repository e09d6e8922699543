//! What breaks each rule.

/// SQL that breaks a rule in the data of [`shop`], the start of the rule, and the record that the output names.
pub const CASES: [(&str, &str, &str); 62] = [
    (
        "insert into order_tally values (1, 'CONFIRMED', 1, 0)",
        "order counters",
        "store 1, CONFIRMED",
    ),
    (
        "update order_tally set amount = 0",
        "order counters",
        "store 1, CONFIRMED",
    ),
    ("delete from order_tally", "order counters", "store 1, CONFIRMED"),
    (
        "update stock_tally set low = low + 1",
        "stock counters",
        "store 1",
    ),
    ("delete from product_tally", "product counters", "category 1"),
    (
        "insert into product_tally values (7, 1, 0)",
        "product counters",
        "category 7",
    ),
    (
        "insert into movement_count values (1, 1000000, 77)",
        "movement counts",
        "inventory 1",
    ),
    (
        "insert into daily_order_report values ('2020-02-29', 1, 1, 0, 0, 0)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "insert into daily_order_report values ('2020-02-29', 0, 0, 0, 0, 7)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "update orders set created_at = '2020-02-29Z'; insert into daily_order_report values ('2020-02-29', 2, 1, 0, 0, 29.97)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "update orders set created_at = '2020-02-29Z'; insert into daily_order_report values ('2020-02-29', 2, 0, 1, 0, 0)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "update orders set created_at = '2020-02-29Z'; insert into daily_order_report values ('2020-02-29', 2, 2, 0, 0, 29.97)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "update orders set created_at = '2020-02-29Z'; insert into daily_order_report values ('2020-02-29', 2, 0, 2, 0, 0)",
        "a daily report",
        "day 2020-02-29",
    ),
    (
        "update inventory set quantity = 8 where id = 1",
        "a quantity equals",
        "inventory 1",
    ),
    ("delete from inventory", "a quantity equals", "inventory 1"),
    (
        "update stock_movement set quantity_after = 11 where kind = 'INITIAL' and inventory_id = 1",
        "movements form a chain",
        "inventory 1",
    ),
    (
        "insert into stock_movement (inventory_id, kind, delta, quantity_after)
         values (2, 'ADJUSTMENT', -8, -3), (2, 'ADJUSTMENT', 8, 5)",
        "movements form a chain",
        "inventory 2",
    ),
    (
        "update inventory set ordered = false",
        "a stock row is marked as ordered",
        "inventory 1",
    ),
    (
        "update inventory set ordered = true",
        "a stock row is marked as ordered",
        "inventory 2",
    ),
    (
        "alter table inventory drop constraint inventory_product_id_fkey; update product set title = 'Rug' where id = 2",
        "a stock row has the title",
        "inventory 2",
    ),
    (
        "alter table inventory drop constraint inventory_product_id_fkey; delete from product where id = 1",
        "the product of an item",
        "product 1",
    ),
    (
        "update inventory set ordered = false",
        "a product with items",
        "product 1",
    ),
    (
        "update order_item set order_id = 7",
        "the order of an item",
        "order 7",
    ),
    (
        "insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after) values (2, 7, 'ORDER', 0, 5)",
        "the order of a movement",
        "order 7",
    ),
    (
        "insert into stock_movement (inventory_id, kind, delta, quantity_after) values (2, 'RETURN', 0, 5)",
        "the order of a movement",
        "order ",
    ),
    (
        "update order_item set unit_price = 1",
        "a confirmed or cancelled order's total",
        "order 1",
    ),
    (
        "delete from stock_movement where order_id = 1",
        "a confirmed or cancelled order has a movement",
        "order 1",
    ),
    (
        "insert into order_item (order_id, product_id, quantity, unit_price) values (2, 1, 99, 9.99)",
        "a rejected order has no items",
        "order 2",
    ),
    (
        "update orders set total_amount = 9.99 where id = 2",
        "a rejected order has no items",
        "order 2",
    ),
    (
        "update orders set status = 'REJECTED', total_amount = 0; delete from order_item; delete from outbox",
        "a rejected order has returned its stock",
        "order 1",
    ),
    (
        "delete from outbox",
        "a confirmed order has a confirmation",
        "order 1",
    ),
    (
        "insert into order_confirmation (order_id) values (2), (9)",
        "no pending or rejected order",
        "order 9",
    ),
    (
        "insert into order_confirmation (order_id) values (1)",
        "no order is in the outbox",
        "order 1",
    ),
    (
        "update stock_movement set created_at = created_at - interval '1 hour' where order_id = 1",
        "the time of a movement",
        "movement 3",
    ),
    (
        "insert into stock_movement (inventory_id, kind, delta, quantity_after) values (2, 'REVERSAL', 0, 5)",
        "a reversal takes back",
        "movement 4",
    ),
    (
        "insert into stock_movement (inventory_id, kind, delta, quantity_after)
         values (2, 'ADJUSTMENT', 2, 7), (2, 'REVERSAL', -1, 6), (2, 'ADJUSTMENT', -1, 5);
         insert into movement_reversal values (4, 5)",
        "a reversal takes back",
        "movement 5",
    ),
    (
        "insert into order_reference values (1, 'WEB-1', 1)",
        "an order that was not rejected",
        "order 1",
    ),
    (
        "insert into order_key values ('CUSTOMER', 'ADA', 1)",
        "an order is found by its reference",
        "order 1",
    ),
    (
        "update stock_movement set on_hand_delta = 0 where order_id = 1",
        "committed units equal the sum of their movements",
        "inventory 1",
    ),
    (
        "update inventory set committed = 1 where id = 2",
        "committed units equal the sum of their movements",
        "inventory 2",
    ),
    (
        "update orders set tracked = true",
        "committed units equal the units of tracked orders",
        "store 1, product 1",
    ),
    (
        "update inventory set committed = 1 where id = 2",
        "committed units equal the units of tracked orders",
        "store 1, product 2",
    ),
    (
        "delete from outbox; insert into order_confirmation (order_id, withheld) values (1, true)",
        "only the confirmation of a cancelled order",
        "order 1",
    ),
    (
        "insert into order_line_progress values (1, 1, 3, 1, 0, 0, 0)",
        "the progress of an item",
        "item 1 of order 1",
    ),
    (
        r#"insert into order_document (order_id, kind, items)
               values (1, 'RETURN', '[{"order_item_id": 1, "quantity": 1, "restocked": 0}]')"#,
        "the progress of an item",
        "item 1 of order 1",
    ),
    (
        "update orders set refunded_amount = 1 where id = 1",
        "the refunds of an order",
        "order 1",
    ),
    (
        "update orders set status = 'CANCELLED' where id = 1",
        "an order is cancelled exactly",
        "order 1",
    ),
    (
        "insert into order_line_progress values (1, 1, 3, 3, 0, 0, 0);
         insert into order_document (order_id, kind, items) values (1, 'CANCELLATION', '[]')",
        "an order is cancelled exactly",
        "order 1",
    ),
    (
        r#"insert into order_document (order_id, kind, items)
               values (1, 'RETURN', '[{"order_item_id": 1, "quantity": 1, "restocked": 1}]')"#,
        "the movements of a document",
        "document 1",
    ),
    (
        "update inventory set reserved = 1 where id = 1",
        "reserved units equal",
        "inventory 1",
    ),
    (
        "insert into reservation (store_id, expires_at, holder) values (1, now(), '');
         insert into reservation_item values (1, 1, 1, 1, 1, now())",
        "reserved units equal",
        "inventory 1",
    ),
    (
        "insert into reservation (store_id, expires_at, holder) values (1, now(), '');
         insert into reservation_item values (1, 1, 1, 1, 0, now())",
        "an active reservation has units",
        "reservation 1",
    ),
    (
        "insert into reservation (store_id, expires_at, holder, status) values (1, now(), '', 'EXPIRED');
         insert into reservation_item values (1, 1, 1, 1, 0, now() + interval '1 second')",
        "the items of a reservation expire",
        "reservation 1",
    ),
    (
        "insert into reservation (store_id, expires_at, holder, status, order_id) values (1, now(), '', 'CONSUMED', 9);
         insert into reservation_item values (1, 1, 1, 1, 0, now())",
        "an order of the store took",
        "reservation 1",
    ),
    (
        "insert into refund_tally values (1, 1, 5)",
        "refund counters",
        "store 1",
    ),
    (
        "insert into store (name, location) values ('South', 'There');
         insert into transfer (from_store_id, to_store_id, status) values (1, 2, 'RECEIVED');
         insert into transfer_line (transfer_id, product_id, quantity) values (1, 1, 3)",
        "the status of a transfer",
        "transfer 1",
    ),
    (
        "insert into store (name, location) values ('South', 'There');
         insert into transfer (from_store_id, to_store_id, status) values (1, 2, 'IN_TRANSIT');
         insert into transfer_line (transfer_id, product_id, quantity, shipped) values (1, 1, 3, 3)",
        "the movements of a transfer",
        "transfer 1",
    ),
    (
        "insert into stock_count (store_id, blind) values (1, true);
         insert into stock_count_line (count_id, product_id, counted, counted_at, entries) values (1, 1, 5, now(), 1);
         insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added) values (1, 1, 4, now(), true)",
        "the line of a stock count",
        "stock count 1, product 1",
    ),
    (
        "insert into stock_count (store_id, blind) values (1, true);
         insert into stock_count_line (count_id, product_id, counted, counted_at, status, on_hand, movement_id)
         values (1, 1, 0, now(), 'APPLIED', 5, 99)",
        "the variance of an applied line",
        "stock count 1, product 1",
    ),
    (
        "insert into stock_movement (inventory_id, kind, delta, quantity_after, reference_type, reference_id)
         values (1, 'COUNT', 0, 0, 'STOCK_COUNT', 7)",
        "the variance of an applied line",
        "stock count 7, product unknown",
    ),
    (
        "insert into stock_count (store_id, blind, status) values (1, true, 'APPLIED');
         insert into stock_count_line (count_id, product_id, counted, counted_at) values (1, 1, 0, now())",
        "a stock count that is applied",
        "stock count 1, product 1",
    ),
    (
        "insert into delivery (order_id, channel) values (1, 'email')",
        "a delivery belongs",
        "delivery 1",
    ),
];
