-- Which times and which ids the entries of a few pages of the audit log have, as `orders_by_time` tells it of orders.
create index audit_log_by_time on audit_log using brin (at, id) with (pages_per_range = 32, autosummarize = on);
