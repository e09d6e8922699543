-- Reads the table once. Rows can be written meanwhile.
alter table orders
    validate constraint orders_status_check,
    validate constraint orders_refunded_amount_check;
