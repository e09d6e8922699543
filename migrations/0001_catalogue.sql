-- Categories, products, stores, and the stock of each product in each store.
--
-- Text that lists are sorted by is `collate "C"`: byte order, so that a list has the same order on every server.

-- Trigram indexes serve the substring search.
create extension if not exists pg_trgm;

-- What two texts have in common when case is ignored. ICU folds Unicode ("ä" finds "Ä", "straße" finds "STRASSE")
-- whatever the locale of the database; upper() alone would fold ASCII only under the "C" collation.
create function fold(value text) returns text
    language sql immutable parallel safe
    return upper(value collate "und-x-icu");

create table category (
    id         bigint generated always as identity primary key,
    name       varchar(100) collate "C" not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint category_name_key unique (name)
);

-- The search takes the categories whose name matches first, then their products. Without `fastupdate`, here and below:
-- new entries would go to a list that every search reads from end to end until a vacuum sorts it in.
create index category_name_trgm on category using gin (fold(name) gin_trgm_ops) with (fastupdate = off);

create table product (
    id          bigint generated always as identity primary key,
    title       varchar(200) collate "C" not null,
    description text not null default '',
    price       numeric(10, 2) not null,
    category_id bigint not null,
    is_active   boolean not null default true,
    -- Set when a stock row that orders took from is deleted, so that the product stays known as one that was sold.
    sold        boolean not null default false,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint product_price_check check (price >= 0.01),
    -- No cascade: what a deletion takes along is deleted in the lock order of the stock, by the code that knows it.
    constraint product_category_id_fkey foreign key (category_id) references category
);

create index product_category_id on product (category_id);
-- The product list: active ones, by title.
create index product_listing on product (title, id) where is_active;
-- Autocomplete: a range over folded titles is a prefix.
create index product_prefix on product (fold(title), title, id) where is_active;
create index product_title_trgm on product using gin (fold(title) gin_trgm_ops) with (fastupdate = off) where is_active;
create index product_description_trgm on product using gin (fold(description) gin_trgm_ops) with (fastupdate = off) where is_active;

create table store (
    id         bigint generated always as identity primary key,
    name       varchar(200) collate "C" not null,
    location   varchar(300) collate "C" not null,
    is_active  boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create index store_listing on store (name, id) where is_active;

create table inventory (
    id                  bigint generated always as identity primary key,
    store_id            bigint not null,
    product_id          bigint not null,
    quantity            integer not null default 0,
    low_stock_threshold integer not null default 10,
    -- Whether an order ever took from this row. Order items carry no index on their product, so this is what tells
    -- a deletion that a product was sold; it is set by the update that every order makes to the row anyway.
    ordered             boolean not null default false,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    constraint inventory_store_product_key unique (store_id, product_id),
    constraint inventory_store_id_fkey foreign key (store_id) references store,
    constraint inventory_product_id_fkey foreign key (product_id) references product,
    -- The last line of defence against overselling: the code decides before it, this refuses what slips through.
    constraint inventory_quantity_check check (quantity >= 0),
    constraint inventory_threshold_check check (low_stock_threshold >= 0)
) with (fillfactor = 80); -- Room for the new version of a row on its own page: an order's update touches no index.

create index inventory_product_id on inventory (product_id);
