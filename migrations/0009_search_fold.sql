-- Text is searched by what Unicode holds to be the same: composed and decomposed letters, ligatures and full-width forms,
-- either case of every letter, and white space of any kind. Accents count.
--
-- `fold()` only upper-cases. It stays as it is: indexes and servers of the version before depend on it.

-- `normalize` composes and `upper` takes the case away; ICU does so alike in every locale. "ẞ" is the capital of "ß", which
-- `upper` makes "SS" of. Apostrophes are typed in several ways. The "İ" of "İstanbul" is an "I" to those without that key.
-- Most text is ASCII with single spaces, for which a tenth of the work is enough.
create function search_fold(value text) returns text
    language sql immutable strict parallel safe
    return case when value collate "C" !~ '[^ -~]|  ' then upper(value collate "und-x-icu") else
        normalize(
            replace(
                normalize(
                    upper(
                        translate(
                            regexp_replace(
                                normalize(value collate "und-x-icu", nfkc),
                                '[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+', ' ', 'g'
                            ),
                            'ẞ’ʼ‘', 'ß'''''''
                        )
                    ),
                    nfkc
                ),
                'İ', 'I'
            ),
            nfkc
        ) end;

-- The pattern of `like` that finds a text anywhere. It is folded before it is escaped: folding makes a "%" of "％".
create function search_pattern(value text) returns text
    language sql immutable strict parallel safe
    return '%' || regexp_replace(search_fold(value) collate "C", '([\\%_])', '\\\1', 'g') || '%';

-- There are few categories, and this is soon made.
create index category_name_search on category using gin (search_fold(name) gin_trgm_ops) with (fastupdate = off);

-- The products whose folded text is another than their `search_text`, which is upper-cased only. Of most products both are
-- the same, and `product_search` serves them; so nothing here grows with the catalogue, and no product is written anew.
create table product_folded (
    product_id   bigint primary key,
    -- What `search_text` says: by itself it would find "cafe" in "café", where the accent is a character of its own.
    upper_text   text not null,
    -- Title and description, apart by the same character as in `search_text`.
    folded_text  text not null,
    -- Null: the title by itself is only upper-cased.
    folded_title text collate "C"
);
create index product_folded_search on product_folded using gin (folded_text gin_trgm_ops) with (fastupdate = off);
create index product_folded_upper on product_folded using gin (upper_text gin_trgm_ops) with (fastupdate = off);
create index product_folded_prefix on product_folded (folded_title, product_id) where folded_title is not null;

-- Products up to this one have not been looked at yet; the worker does so in portions, from the newest on. Without a row
-- there are none.
create table product_folding (
    product_id bigint not null
);

create function keep_folded() returns trigger language plpgsql as $$
begin
    insert into product_folded (product_id, upper_text, folded_text, folded_title) values (
        new.id,
        new.search_text,
        search_fold(new.title) || chr(1114111) || search_fold(new.description),
        nullif(search_fold(new.title), fold(new.title))
    ) on conflict (product_id) do update
        set upper_text = excluded.upper_text, folded_text = excluded.folded_text,
            folded_title = excluded.folded_title;
    return null;
end $$;

create function drop_folded() returns trigger language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate product_folded, product_folding;
    else
        delete from product_folded where product_id = old.id;
    end if;
    return null;
end $$;

-- No foreign key: servers of the version before truncate products without knowing of this table.
create trigger product_folded_delete after delete on product for each row execute function drop_folded();
create trigger product_folded_truncate after truncate on product execute function drop_folded();
create trigger product_folded_same after update of title, description on product for each row
    when (new.search_text = search_fold(new.title) || chr(1114111) || search_fold(new.description))
    execute function drop_folded();
create trigger product_folded_other after insert or update of title, description on product for each row
    when (new.search_text <> search_fold(new.title) || chr(1114111) || search_fold(new.description))
    execute function keep_folded();

-- The triggers have waited for all writers: what is written from here on, they see.
insert into product_folding select id from product order by id desc limit 1;
