//! The SQL of stock counts.

use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, QueryBuilder, Row, postgres::PgRow};

use super::{
    decision::{CountedLine, Outcome},
    model::{EnteredLine, Status, StockCount, Totals},
    request::{Entry, NewStockCount},
    scope::Scope,
};
use crate::{db::ReadPool, ledger::Recorded, store::StoreSummary, timestamp::Timestamp};

/// Which stock counts are listed.
#[derive(Debug)]
pub struct Filter {
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only with this status.
    pub status: Option<&'static str>,
    /// Only with this reference.
    pub reference: Option<String>,
}

impl FromRow<'_, PgRow> for StockCount {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let columns = (
            row.try_get("category_id")?,
            row.try_get("product_ids")?,
            row.try_get("not_counted_since")?,
        );
        Ok(Self {
            id: row.try_get("id")?,
            store: StoreSummary {
                id: row.try_get("store_id")?,
                name: row.try_get("store_name")?,
                location: row.try_get("store_location")?,
            },
            status: row.try_get("status")?,
            scope: Scope::of_columns(columns.0, columns.1, columns.2),
            blind: row.try_get("blind")?,
            reference: row.try_get("reference")?,
            version: row.try_get("version")?,
            applied_at: row.try_get("applied_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

const SELECT: &str = "select c.*, s.name as store_name, s.location as store_location from stock_count c join store s on s.id = c.store_id where c.id ";

/// The stock counts with an id below `before`, newest first: one more than a page shows.
pub async fn list(db: &ReadPool, filter: &Filter, before: i64) -> sqlx::Result<Vec<StockCount>> {
    let mut query = QueryBuilder::<Postgres>::new(SELECT);
    query.push(" < ").push_bind(before);
    if let Some(stores) = &filter.stores {
        query
            .push(" and c.store_id = any(")
            .push_bind(stores.clone())
            .push(")");
    }
    if let Some(status) = filter.status {
        query.push(" and c.status = ").push_bind(status);
    }
    if let Some(reference) = &filter.reference {
        query.push(" and c.reference = ").push_bind(reference.clone());
    }
    query.push(" order by c.id desc limit 21");
    query.build_query_as().fetch_all(db).await
}

/// A stock count.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<StockCount>> {
    let mut query = QueryBuilder::<Postgres>::new(SELECT);
    query.push(" = ").push_bind(id);
    query.build_query_as().fetch_optional(db).await
}

/// Creates a stock count. Returns its id.
pub async fn insert(tx: &mut PgConnection, new: &NewStockCount) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "insert into stock_count (store_id, category_id, product_ids, not_counted_since, blind, reference)
         values ($1, $2, $3, $4, $5, $6) returning id",
        new.store_id.id,
        new.scope.category_id,
        new.scope.product_ids.as_deref() as Option<&[i64]>,
        new.scope.not_counted_since as Option<Timestamp>,
        new.blind,
        new.reference
    )
    .fetch_one(tx)
    .await
}

/// Locks a stock count.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("select from stock_count where id = $1 for no key update", id)
        .execute(tx)
        .await
        .map(drop)
}

/// A locked stock count, read by a later statement.
#[derive(Debug)]
pub struct Locked {
    /// The stock count.
    pub count: StockCount,
    /// The time of this statement.
    pub now: Timestamp,
    /// The time of the newest detached movement.
    pub movements_until: Option<Timestamp>,
}

/// Reads a locked stock count.
pub async fn read(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Locked>> {
    let Some(count) = get(&mut *tx, id).await? else {
        return Ok(None);
    };
    let times = sqlx::query!(
        r#"select statement_timestamp() as "now!: Timestamp",
               nullif(movements_until, '-infinity') as "movements_until: Timestamp" from history_start"#
    )
    .fetch_one(tx)
    .await?;
    Ok(Some(Locked {
        count,
        now: times.now,
        movements_until: times.movements_until,
    }))
}

/// What a new entry depends on.
#[derive(Debug)]
pub struct ProductFacts {
    pub product_id: i64,
    pub category_id: i64,
    /// The last time that the quantity of the row was set.
    pub row_counted_at: Option<Timestamp>,
    /// The number of entries, if there is a line.
    pub entries: Option<i32>,
    pub is_applied: bool,
}

/// The facts of the products that exist.
pub async fn products(
    tx: &mut PgConnection,
    count: &StockCount,
    products: &[i64],
) -> sqlx::Result<Vec<ProductFacts>> {
    sqlx::query_as!(
        ProductFacts,
        r#"select p.id as product_id, p.category_id, i.counted_at as "row_counted_at: Timestamp", l.entries as "entries?",
               coalesce(l.status = 'APPLIED', false) as "is_applied!"
           from product p left join inventory i on i.product_id = p.id and i.store_id = $2
               left join stock_count_line l on l.product_id = p.id and l.count_id = $1
           where p.id = any($3)"#,
        count.id,
        count.store.id,
        products
    )
    .fetch_all(tx)
    .await
}

/// Adds entries, and sets the lines of their products. Entries take effect in the sequence of their times: one that adds is added to
/// what was counted before, any other replaces it.
pub async fn enter(
    tx: &mut PgConnection,
    id: i64,
    entries: &[(Entry, Timestamp)],
    actor: Option<&str>,
) -> sqlx::Result<Vec<EnteredLine>> {
    let products: Vec<i64> = entries.iter().map(|(entry, _)| entry.product_id).collect();
    let units: Vec<i32> = entries.iter().map(|(entry, _)| entry.units).collect();
    let times: Vec<Timestamp> = entries.iter().map(|(_, at)| *at).collect();
    let added: Vec<bool> = entries.iter().map(|(entry, _)| entry.is_added).collect();
    sqlx::query_as!(
        EnteredLine,
        r#"with entered as (
               insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added, actor)
               select $1, product_id, counted, counted_at, is_added, $6
               from unnest($2::bigint[], $3::integer[], $4::timestamptz[], $5::boolean[]) with ordinality
                   as e (product_id, counted, counted_at, is_added, place) order by place
               returning product_id, id, counted, counted_at, is_added
           ), entry as (
               select product_id, id, counted, counted_at, is_added from stock_count_entry
               where count_id = $1 and product_id = any($2)
               union all select * from entered
           ), judged as (
               select product_id, counted, counted_at, coalesce(sum((not is_added)::integer) over (
                   partition by product_id order by counted_at desc, id desc rows between unbounded preceding and 1 preceding
               ), 0) > 0 as is_replaced
               from entry
           ), written as (
               insert into stock_count_line (count_id, product_id, counted, counted_at, entries)
               select $1, product_id, sum(counted) filter (where not is_replaced), max(counted_at), count(*)
               from judged group by product_id
               on conflict (count_id, product_id) do update set counted = excluded.counted, counted_at = excluded.counted_at,
                   entries = excluded.entries, status = 'COUNTED', code = null, missing = null
               returning product_id, counted, counted_at, entries
           ), changed as (
               update stock_count set version = version + 1, updated_at = statement_timestamp() where id = $1
           )
           select w.product_id, p.title as product_title, w.counted, w.counted_at as "counted_at: Timestamp", w.entries
           from written w join product p on p.id = w.product_id order by w.product_id"#,
        id,
        &products,
        &units,
        &times as &[Timestamp],
        &added,
        actor
    )
    .fetch_all(tx)
    .await
}

/// The next products to apply, up to `limit`: lines that are not final, and with `zero` stock that was not counted.
pub async fn next_products(
    db: impl PgExecutor<'_>,
    count: &StockCount,
    zero: bool,
    after: i64,
    limit: usize,
) -> sqlx::Result<Vec<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = QueryBuilder::<Postgres>::new(
        "select product_id from ((select product_id from stock_count_line where count_id = ",
    );
    query
        .push_bind(count.id)
        .push(" and product_id > ")
        .push_bind(after);
    query.push(" and status in ('COUNTED', 'FAILED') order by product_id limit ");
    query.push_bind(limit).push(")");
    if zero {
        query.push(" union all (");
        count
            .scope
            .push_uncounted(&mut query, (count.id, count.store.id), after, limit);
        query.push(")");
    }
    query.push(") p order by product_id limit ").push_bind(limit);
    // Planned for these values: the best plan depends on the scope.
    query.build_query_scalar().persistent(false).fetch_all(db).await
}

/// Counts none of the products that have no line. Their rows must be locked.
pub async fn count_none(tx: &mut PgConnection, count: &StockCount, products: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into stock_count_line (count_id, product_id, counted, counted_at)
         select $1, product_id, 0, greatest(statement_timestamp(), updated_at)
         from inventory where store_id = $2 and product_id = any($3)
         on conflict do nothing",
        count.id,
        count.store.id,
        products
    )
    .execute(tx)
    .await
    .map(drop)
}

/// The lines of some products that are not final, beside what the ledger knows. Their rows must be locked.
pub async fn lines(
    tx: &mut PgConnection,
    count: &StockCount,
    products: &[i64],
) -> sqlx::Result<Vec<CountedLine>> {
    sqlx::query_as!(
        CountedLine,
        r#"select l.product_id, l.counted, l.counted_at as "counted_at: Timestamp",
               case when l.counted_at > h.movements_until
                    then coalesce(m.on_hand_after, m.quantity_after, o.quantity, 0)::bigint end as on_hand,
               i.counted_at as "row_counted_at: Timestamp"
           from stock_count_line l join inventory i on i.store_id = $2 and i.product_id = l.product_id cross join history_start h
               left join opening_balance o on o.inventory_id = i.id left join lateral movement_at(i.id, l.counted_at) m on true
           where l.count_id = $1 and l.product_id = any($3) and l.status in ('COUNTED', 'FAILED')"#,
        count.id,
        count.store.id,
        products
    )
    .fetch_all(tx)
    .await
}

/// Writes the outcomes of lines.
pub async fn write(
    tx: &mut PgConnection,
    id: i64,
    outcomes: &[(i64, Outcome)],
    recorded: &[Option<Recorded>],
) -> sqlx::Result<()> {
    let mut movements = recorded
        .iter()
        .map(|movement| movement.map(|movement| movement.id));
    let (mut statuses, mut on_hand, mut moved) = (vec![], vec![], vec![]);
    let (mut codes, mut missing) = (vec![], vec![]);
    for (_, outcome) in outcomes {
        let (status, columns) = match outcome {
            Outcome::Applied { on_hand, .. } => (
                "APPLIED",
                (Some(*on_hand), movements.next().flatten(), None, None),
            ),
            Outcome::Superseded => ("SUPERSEDED", (None, None, None, None)),
            Outcome::Failed { code, missing } => ("FAILED", (None, None, Some(code.as_str()), *missing)),
        };
        statuses.push(status);
        on_hand.push(columns.0);
        moved.push(columns.1);
        codes.push(columns.2);
        missing.push(columns.3);
    }
    let products: Vec<i64> = outcomes.iter().map(|(product, _)| *product).collect();
    sqlx::query!(
        "update stock_count_line l set status = w.status, on_hand = w.on_hand, movement_id = w.movement_id, code = w.code,
             missing = w.missing
         from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[])
             as w (product_id, status, on_hand, movement_id, code, missing)
         where l.count_id = $1 and l.product_id = w.product_id",
        id,
        &products,
        &statuses as &[&str],
        &on_hand as &[Option<i64>],
        &moved as &[Option<i64>],
        &codes as &[Option<&str>],
        &missing as &[Option<i64>]
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Counts the lines of a stock count.
pub async fn totals(tx: &mut PgConnection, id: i64) -> sqlx::Result<Totals> {
    sqlx::query_as!(
        Totals,
        r#"select count(*) filter (where status = 'COUNTED') as "counted!", count(*) filter (where status = 'APPLIED') as "applied!",
               count(*) filter (where status = 'SUPERSEDED') as "superseded!", count(*) filter (where status = 'FAILED') as "failed!"
           from stock_count_line where count_id = $1"#,
        id
    )
    .fetch_one(tx)
    .await
}

/// Sets the status of a stock count, and raises its version.
pub async fn set_status(tx: &mut PgConnection, id: i64, status: Status) -> sqlx::Result<StockCount> {
    sqlx::query!(
        "update stock_count set version = version + 1, status = $2, updated_at = statement_timestamp(),
             applied_at = case when $2 = 'APPLIED' then statement_timestamp() end
         where id = $1",
        id,
        status as Status
    )
    .execute(&mut *tx)
    .await?;
    get(tx, id).await?.ok_or(sqlx::Error::RowNotFound)
}
