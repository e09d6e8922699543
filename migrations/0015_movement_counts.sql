-- How many movements the ledger has of a stock row, noted by whoever counts them: counting goes on from there, so that a
-- list of millions of movements need not be read to say how long it is.
--
-- Movements of one stock row are written under its lock, and numbered then: once one of them can be seen, none with a lower
-- id can come. Placing orders has no part in this.

create table movement_count (
    inventory_id bigint primary key,
    -- The last movement that is counted.
    latest       bigint not null,
    movements    bigint not null
);
