-- Finds SKUs by their beginning, in any case.
create index product_code_search on product_code (upper(code)) where kind = 'SKU';
