-- Reversed movements, and the times that limit how far back the quantity of a stock row is known.

-- A movement is reversed once. Without foreign keys: a partitioned ledger has no unique id.
create table movement_reversal (
    movement_id bigint primary key,
    -- The movement that reverses it, and others of the same row.
    reversal_id bigint not null
);

alter table history_start
    -- The time of the newest detached movement.
    add column movements_until timestamptz not null default '-infinity';
-- Movements were at least this old when they were detached.
update history_start set movements_until = now() - interval '35 days' where first_movement_id > 0;

alter table inventory
    -- The last time that the row was given to another store or product. Earlier movements belong to the former one.
    add column moved_at timestamptz;
update inventory set moved_at = moved.at
from (select inventory_id, max(created_at) as at from stock_movement
      where kind = 'REMOVAL' and reason like 'Moved to %' group by inventory_id) moved
where inventory.id = moved.inventory_id;

-- A trigger, because servers of the release before move rows, too.
create function note_move() returns trigger language plpgsql as $$
begin
    new.moved_at := greatest(statement_timestamp(), old.updated_at);
    return new;
end $$;
create trigger inventory_moved before update of store_id, product_id on inventory
    for each row when ((new.store_id, new.product_id) is distinct from (old.store_id, old.product_id))
    execute function note_move();
