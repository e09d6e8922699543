//! The movements of all stock rows, newest first.
//!
//! A request examines a bounded part of the ledger, whatever its filter: the latest movements in the index of a stock row, a
//! reference or a kind, or else the movements with the latest ids. So a page may have few rows while more of the list is left.

use sqlx::{Postgres, QueryBuilder};

use super::movement::Movement;
use crate::{db::ReadPool, http::cut, timestamp::Timestamp};

/// The most movements of an index that a request examines.
const MOST_EXAMINED: i64 = 20_000;
/// The numbers of ids that the statements of a request examine, if no index fits the filter.
const WINDOWS: [i64; 3] = [1_000, 10_000, 100_000];
/// The number of ids that one more statement examines if the filter has a time: the index of times leaves most of them out.
const WINDOW_OF_TIMES: i64 = 1_000_000;

/// Which movements are read.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only of stock in these stores.
    pub stores: Option<Vec<i64>>,
    /// Only of stock of this product.
    pub product_id: Option<i64>,
    /// Only of this kind.
    pub kind: Option<&'static str>,
    /// Only with this reference of the client.
    pub reference: Option<String>,
    /// Only by this actor, such as `key:12`.
    pub actor: Option<String>,
    /// Only from this time on.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
}

/// An index that has the movements of a filter by id.
#[derive(Clone, Copy, Debug)]
enum Index<'a> {
    Row(i64),
    Reference(&'a str),
    Kind(&'a str),
}

/// The movements with an id below `before`, and the id below which the list goes on.
pub async fn search(
    db: &ReadPool,
    mut filter: Filter,
    before: i64,
) -> sqlx::Result<(Vec<Movement>, Option<i64>)> {
    if let (Some([store]), Some(product)) = (filter.stores.as_deref(), filter.product_id) {
        let Some(row) = row(db, *store, product).await? else {
            return Ok((Vec::new(), None));
        };
        (filter.stores, filter.product_id) = (None, None);
        return by_index(db, &filter, Index::Row(row), before).await;
    }
    match (&filter.stores, &filter.reference, filter.kind) {
        (Some(stores), ..) if stores.is_empty() => Ok((Vec::new(), None)),
        (_, Some(reference), _) => by_index(db, &filter, Index::Reference(reference), before).await,
        // Orders have most movements, and are not in the index of kinds.
        (_, None, Some(kind)) if kind != "ORDER" => by_index(db, &filter, Index::Kind(kind), before).await,
        _ => by_id(db, &filter, before).await,
    }
}

async fn row(db: &ReadPool, store: i64, product: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select id from inventory where store_id = $1 and product_id = $2",
        store,
        product
    )
    .fetch_optional(db)
    .await
}

/// Reads from an index until a page is full or enough movements were examined.
async fn by_index(
    db: &ReadPool,
    filter: &Filter,
    index: Index<'_>,
    before: i64,
) -> sqlx::Result<(Vec<Movement>, Option<i64>)> {
    let mut query = QueryBuilder::new(BEGIN);
    query.push("(select * from stock_movement m");
    push_indexed(&mut query, index, before);
    query.push(" limit ").push(MOST_EXAMINED).push(") m where true");
    let mut rows = read(db, query, filter).await?;
    if let Some(next) = cut(&mut rows) {
        return Ok((rows, Some(next)));
    }
    let mut query = QueryBuilder::new("select id from stock_movement m");
    push_indexed(&mut query, index, before);
    query.push(" limit 1 offset ").push(MOST_EXAMINED - 1);
    let last = query.build_query_scalar().persistent(false);
    Ok((rows, last.fetch_optional(db).await?))
}

fn push_indexed(query: &mut QueryBuilder<Postgres>, index: Index<'_>, before: i64) {
    match index {
        Index::Row(id) => query.push(" where m.inventory_id = ").push_bind(id),
        Index::Reference(text) => query.push(" where m.reference = ").push_bind(text.to_owned()),
        Index::Kind(kind) => query
            .push(" where m.kind <> 'ORDER' and m.kind = ")
            .push_bind(kind),
    };
    query.push(" and m.id < ").push_bind(before);
    query.push(" order by m.id desc");
}

/// Reads ever more ids at a time until a page is full or enough ids were examined.
async fn by_id(db: &ReadPool, filter: &Filter, before: i64) -> sqlx::Result<(Vec<Movement>, Option<i64>)> {
    let last = sqlx::query_scalar!(r#"select last_value as "last!" from stock_movement_id_seq"#)
        .fetch_one(db)
        .await?;
    let mut high = before.min(last.saturating_add(1));
    let mut rows = Vec::new();
    let has_time = filter.from.is_some() || filter.until.is_some();
    for width in WINDOWS.into_iter().chain(has_time.then_some(WINDOW_OF_TIMES)) {
        let low = high.saturating_sub(width);
        let mut query = QueryBuilder::new(BEGIN);
        query.push("stock_movement m where m.id >= ").push_bind(low);
        query.push(" and m.id < ").push_bind(high);
        rows.extend(read(db, query, filter).await?);
        if let Some(next) = cut(&mut rows) {
            return Ok((rows, Some(next)));
        }
        high = low;
    }
    // Planned for this id: a plan for any would not use the index.
    let is_left: Option<i64> = sqlx::query_scalar("select id from stock_movement where id < $1 limit 1")
        .bind(high)
        .persistent(false)
        .fetch_optional(db)
        .await?;
    Ok((rows, is_left.map(|_| high)))
}

/// The beginning and the end of a statement. The examined movements and the filter stand between them.
const BEGIN: &str =
    "select m.id, m.inventory_id, m.kind, m.delta, m.quantity_after, m.order_id, m.actor, m.reason,
        m.reason_code, m.reference, m.created_at, i.store_id, i.product_id, r.reversal_id as reversed_by
    from (select m.* from ";
const END: &str = " order by m.id desc limit 21) m
        left join inventory i on i.id = m.inventory_id left join movement_reversal r on r.movement_id = m.id
    order by m.id desc";

/// Reads the latest of the examined movements that pass the filter: one more than a page shows. The statement is planned for its
/// values, which decide the best plan.
async fn read(
    db: &ReadPool,
    mut query: QueryBuilder<Postgres>,
    filter: &Filter,
) -> sqlx::Result<Vec<Movement>> {
    if filter.stores.is_some() || filter.product_id.is_some() {
        query.push(" and exists (select from inventory i where i.id = m.inventory_id");
        if let Some(stores) = &filter.stores {
            query
                .push(" and i.store_id = any(")
                .push_bind(stores.clone())
                .push(")");
        }
        if let Some(product) = filter.product_id {
            query.push(" and i.product_id = ").push_bind(product);
        }
        query.push(")");
    }
    if let Some(kind) = filter.kind {
        query.push(" and m.kind = ").push_bind(kind);
    }
    if let Some(reference) = &filter.reference {
        query.push(" and m.reference = ").push_bind(reference.clone());
    }
    if let Some(actor) = &filter.actor {
        query.push(" and m.actor = ").push_bind(actor.clone());
    }
    if let Some(from) = filter.from {
        query.push(" and m.created_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" and m.created_at < ").push_bind(until);
    }
    query.push(END);
    query.build_query_as().persistent(false).fetch_all(db).await
}
