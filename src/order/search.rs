//! The list of orders with filters that no counter has: by reference, customer, time, total, and several statuses.
//!
//! One statement finds up to 10,001 ids in the sequence of the list, counts them, and reads the rows of a page. It reads the ids
//! from an index in this sequence, and stops there.

use rust_decimal::Decimal;
use sqlx::{PgExecutor, Postgres, QueryBuilder};

use super::{
    model::Status,
    row::{OrderRow, SELECT_ROWS},
};
use crate::{
    http::{COUNT_LIMIT, Counted, Listed, PageQuery},
    timespan::Range,
};

/// The kinds of keys.
const REFERENCE: &str = "REFERENCE";
const CUSTOMER: &str = "CUSTOMER";
/// Stores whose orders are merged from the index of stores. Orders of more stores are found by id.
const MOST_MERGED: usize = 32;

/// The filters.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only orders with one of these statuses; any if there is none.
    pub statuses: Vec<Status>,
    /// The client's reference.
    pub external_reference: Option<String>,
    /// Reference, e-mail address or phone number of the customer, regardless of case.
    pub customer: Option<String>,
    /// Only orders with this [`Fulfillment`](super::progress::Fulfillment).
    pub fulfillment: Option<&'static str>,
    /// The lowest total.
    pub total_min: Option<Decimal>,
    /// The highest total.
    pub total_max: Option<Decimal>,
    /// The oldest first.
    pub oldest_first: bool,
}

/// The orders that match, within ids and times.
pub async fn list(
    db: impl PgExecutor<'_>,
    search: &Search,
    range: Range,
    page: &PageQuery<OrderRow>,
) -> sqlx::Result<Vec<Counted<OrderRow>>> {
    let range = match page {
        PageQuery::After(id) if *id != OrderRow::START => range.after(*id, search.oldest_first),
        _ => range,
    };
    let matching = Matching {
        search,
        range,
        limit: if matches!(page, PageQuery::After(_)) {
            "21"
        } else {
            "10001"
        },
    };
    let mut query = QueryBuilder::new("with matching as materialized (");
    matching.push(&mut query);
    query.push("), ");
    push_page(&mut query, page, search.direction());
    query.push(format!(" {SELECT_ROWS} order by o.id{}", search.direction()));
    // Planned for these filters: a generic plan would read whole tables for some of them.
    query.build_query_as().persistent(false).fetch_all(db).await
}

/// Adds `total` with the count, and `page` with the orders of a page.
fn push_page(query: &mut QueryBuilder<Postgres>, page: &PageQuery<OrderRow>, direction: &str) {
    let skipped = match page {
        PageQuery::After(_) => {
            query.push(
                "total as (select null::bigint as count),
                 page as (select o.* from matching join orders o using (id))",
            );
            return;
        }
        PageQuery::First => Some(0),
        PageQuery::Later(skipped) => *skipped,
    };
    query
        .push("total as (select count(*) as count from matching), place as (select coalesce(")
        .push_bind(skipped);
    query.push(format!(
        "::bigint, greatest(least(count, {COUNT_LIMIT}) - 1, 0) / 20 * 20) as skipped from total),
         page as (select o.* from (select id from matching order by id{direction} limit 20 offset (select skipped from place)) m
             join orders o using (id))"
    ));
}

impl Search {
    /// Whether it may read all orders of its time.
    pub fn is_scan(&self) -> bool {
        self.total_min.is_some() || self.total_max.is_some() || self.fulfillment.is_some()
    }

    /// What follows the columns of `order by`.
    fn direction(&self) -> &'static str {
        if self.oldest_first { "" } else { " desc" }
    }

    /// The key by which orders are found, if there is one.
    fn key(&self) -> Option<(&'static str, &str)> {
        let reference = self.external_reference.as_deref().map(|text| (REFERENCE, text));
        reference.or_else(|| Some((CUSTOMER, self.customer.as_deref()?)))
    }

    fn statuses(&self) -> Vec<&'static str> {
        let all = Status::ALL.into_iter();
        let wanted = all.filter(|status| self.statuses.is_empty() || self.statuses.contains(status));
        wanted.map(Status::as_str).collect()
    }
}

/// The part of the statement that selects the ids of the orders that match.
struct Matching<'a> {
    search: &'a Search,
    range: Range,
    limit: &'static str,
}

impl Matching<'_> {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        let Search { stores, statuses, .. } = self.search;
        let merged = stores.as_ref().filter(|stores| stores.len() <= MOST_MERGED);
        if let Some((kind, text)) = self.search.key() {
            query.push("select o.id from order_key k join orders o on o.id = k.order_id where ");
            push_key(query, "k", kind, text);
            self.push_ids_stores_and_statuses(query);
        } else if merged.is_some() || stores.is_none() && !statuses.is_empty() {
            self.push_merged(query, merged);
        } else {
            query.push("select o.id from orders o where true");
            self.push_ids_stores_and_statuses(query);
        }
        self.push_end(query, &["o.id"]);
    }

    /// The indexes by store and status have the orders of each pair in sequence. They are merged. Rows are compared, and sorted by
    /// all columns of an index, so that PostgreSQL reads that index.
    fn push_merged(&self, query: &mut QueryBuilder<Postgres>, stores: Option<&Vec<i64>>) {
        query
            .push("select o.id from unnest(")
            .push_bind(self.search.statuses());
        query.push("::text[]) as wanted (status) cross join ");
        let (first, last) = self.range.ids();
        let (columns, pair) = match stores {
            Some(stores) => {
                query.push("unnest(").push_bind(stores.clone());
                query.push("::bigint[]) as granted (store_id) cross join ");
                ("o.store_id, o.status, o.id", "granted.store_id, wanted.status")
            }
            None => ("o.status, o.id", "wanted.status"),
        };
        query.push(format!(
            "lateral (select o.id from orders o where ({columns}) >= ({pair}, "
        ));
        query.push_bind(first);
        query
            .push(format!(") and ({columns}) <= ({pair}, "))
            .push_bind(last);
        query.push(")");
        self.push_conditions(query);
        self.push_end(query, &columns.split(", ").collect::<Vec<_>>());
        query.push(") o");
    }

    /// Ends a statement of orders: their sequence, and how many there are.
    fn push_end(&self, query: &mut QueryBuilder<Postgres>, columns: &[&str]) {
        let direction = self.search.direction();
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{column}{direction}"))
            .collect();
        query.push(format!(" order by {} limit {}", columns.join(", "), self.limit));
    }

    fn push_ids_stores_and_statuses(&self, query: &mut QueryBuilder<Postgres>) {
        let (first, last) = self.range.ids();
        query.push(" and o.id >= ").push_bind(first);
        query.push(" and o.id <= ").push_bind(last);
        let Search { stores, statuses, .. } = self.search;
        if let Some(stores) = stores {
            query
                .push(" and o.store_id = any(")
                .push_bind(stores.clone())
                .push(")");
        }
        if !statuses.is_empty() {
            query
                .push(" and o.status = any(")
                .push_bind(self.search.statuses())
                .push(")");
        }
        self.push_conditions(query);
    }

    fn push_conditions(&self, query: &mut QueryBuilder<Postgres>) {
        // An expression, so that PostgreSQL does not read and sort all orders of a time.
        self.range.push_times(query, "(o.created_at + interval '0')");
        if let Some(least) = self.search.total_min {
            query.push(" and o.total_amount >= ").push_bind(least);
        }
        if let Some(most) = self.search.total_max {
            query.push(" and o.total_amount <= ").push_bind(most);
        }
        if let Some(fulfillment) = self.search.fulfillment {
            query.push(
                " and case when o.tracked is not true then 'NOT_TRACKED' else (
                      select case when coalesce(sum(g.fulfilled), 0) = 0 then 'UNFULFILLED'
                          when sum(g.fulfilled) < sum(i.quantity - coalesce(g.cancelled, 0)) then 'PARTIAL' else 'FULFILLED' end
                      from order_item i left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
                      where i.order_id = o.id
                  ) end = ",
            );
            query.push_bind(fulfillment);
        }
        if let (Some((REFERENCE, _)), Some(customer)) = (self.search.key(), &self.search.customer) {
            query.push(" and exists (select from order_key c where c.order_id = o.id and ");
            push_key(query, "c", CUSTOMER, customer);
            query.push(")");
        }
    }
}

fn push_key(query: &mut QueryBuilder<Postgres>, table: &str, kind: &'static str, text: &str) {
    query.push(format!("{table}.kind = ")).push_bind(kind);
    query.push(format!(" and {table}.key = "));
    let function = if kind == CUSTOMER {
        "order_customer_key("
    } else {
        "("
    };
    query.push(function).push_bind(text.to_owned()).push(")");
}
