-- The indexes of the movements of all stock rows: by time, by reference and by kind. `afforo migrate` builds them concurrently
-- before this transaction, which only finds them.
--
-- Orders write no entry of the last two.
create index if not exists stock_movement_by_time on stock_movement using brin (created_at, id) with (pages_per_range = 32, autosummarize = on);
create index if not exists stock_movement_by_reference on stock_movement (reference, id) where reference is not null;
create index if not exists stock_movement_by_kind on stock_movement (kind, id) where kind <> 'ORDER';
