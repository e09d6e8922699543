-- Codes of products: one SKU each, and barcodes of units and packs. A code names one product.
create table product_code (
    code       varchar(64) collate "C" primary key,
    product_id bigint not null references product on delete cascade,
    kind       text not null,
    -- Units in the pack that bears the code.
    pack       integer not null default 1,
    constraint product_code_kind_check check (kind in ('SKU', 'BARCODE')),
    constraint product_code_pack_check check (pack >= 1 and (kind = 'BARCODE' or pack = 1))
);
create index product_code_product_id on product_code (product_id);
create unique index product_code_sku on product_code (product_id) where kind = 'SKU';

-- The unit that quantities count, such as `pc` or `g`. Only a label.
alter table product add column unit varchar(16) not null default '';
