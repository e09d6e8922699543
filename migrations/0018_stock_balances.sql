-- The balances of a stock row beside its quantity, and the columns of the ledger that stock documents write.
--
-- `quantity` can be sold. `reserved` is the part of it that is promised. `committed` is sold and not yet handed over, so
-- `quantity + committed` is on hand. All constraints are validated by the next migration, without a long lock.

alter table inventory
    add column reserved integer not null default 0,
    add column committed integer not null default 0,
    -- The last time that somebody set an absolute quantity.
    add column counted_at timestamptz,
    add constraint inventory_reserved_check check (reserved >= 0 and reserved <= quantity) not valid,
    add constraint inventory_committed_check check (committed >= 0) not valid;

alter table stock_movement
    -- What the movement changed on hand. Null if nothing was committed before and after: then it is `delta` and
    -- `quantity_after`.
    add column on_hand_delta integer,
    add column on_hand_after integer,
    add column reason_code text,
    -- The client's text, such as the number of a delivery note.
    add column reference text,
    -- The document that caused the movement, other than an order.
    add column reference_type text,
    add column reference_id bigint,
    drop constraint stock_movement_kind_check,
    add constraint stock_movement_kind_check check (kind in (
        'ORDER', 'INITIAL', 'ADJUSTMENT', 'RETURN', 'REMOVAL', 'CANCEL', 'FULFILL', 'TRANSFER_OUT', 'TRANSFER_IN', 'COUNT',
        'IMPORT', 'REVERSAL')) not valid,
    add constraint stock_movement_reason_code_check check (reason_code in (
        'RECEIVED', 'DAMAGED', 'LOST', 'FOUND', 'COUNT', 'CORRECTION', 'SAMPLE', 'PRODUCTION', 'OTHER')) not valid;

-- Servers of the release before write movements with the time at which their transaction began, which may be before the
-- time of the row's last movement. An operator confirms that all servers are of this release, and from then on times rise.
create table completed_upgrade (
    name          text primary key,
    -- The last movement at that time.
    last_movement bigint not null,
    completed_at  timestamptz not null default now()
);
insert into completed_upgrade (name, last_movement)
select 'ledger_times', 0 where not exists (select from stock_movement);
