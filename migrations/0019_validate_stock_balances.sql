-- Reads both tables once. Rows can be written meanwhile.
alter table inventory
    validate constraint inventory_reserved_check,
    validate constraint inventory_committed_check;
alter table stock_movement
    validate constraint stock_movement_kind_check,
    validate constraint stock_movement_reason_code_check;
