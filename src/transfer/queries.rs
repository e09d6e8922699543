//! The SQL of transfers.

use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder};

use super::{
    decision::{Line, TransferState},
    model::{Status, Transfer, TransferItem, TransferRow},
};
use crate::{db::ReadPool, store::StoreSummary, timestamp::Timestamp};

/// Which transfers are listed.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only transfers from or to one of these stores.
    pub stores: Option<Vec<i64>>,
    /// Only transfers from this store.
    pub from_store_id: Option<i64>,
    /// Only transfers to this store.
    pub to_store_id: Option<i64>,
    /// Only transfers with this status.
    pub status: Option<&'static str>,
    /// Only transfers with this reference.
    pub reference: Option<String>,
}

/// The transfers with an id below `before`, newest first: one more than a page shows.
pub async fn list(db: &ReadPool, filter: &Filter, before: i64) -> sqlx::Result<Vec<TransferRow>> {
    let mut query = QueryBuilder::<Postgres>::new("with page as (select * from transfer where id < ");
    query.push_bind(before);
    if let Some(stores) = &filter.stores {
        query.push(" and (from_store_id = any(").push_bind(stores.clone());
        query
            .push(") or to_store_id = any(")
            .push_bind(stores.clone())
            .push("))");
    }
    if let Some(store) = filter.from_store_id {
        query.push(" and from_store_id = ").push_bind(store);
    }
    if let Some(store) = filter.to_store_id {
        query.push(" and to_store_id = ").push_bind(store);
    }
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(reference) = &filter.reference {
        query.push(" and reference = ").push_bind(reference.clone());
    }
    query.push(
        " order by id desc limit 21)
          select t.id, t.status, t.from_store_id, f.name as from_store_name, t.to_store_id, s.name as to_store_name, t.reference,
              t.expected_at, l.quantity, l.in_transit, t.version, t.created_at, t.updated_at
          from page t join store f on f.id = t.from_store_id join store s on s.id = t.to_store_id
              cross join lateral (
                  select coalesce(sum(quantity), 0)::bigint as quantity, coalesce(sum(in_transit), 0)::bigint as in_transit
                  from transfer_line where transfer_id = t.id
              ) l
          order by t.id desc",
    );
    query.build_query_as().fetch_all(db).await
}

/// A transfer.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Transfer>> {
    let rows = sqlx::query!(
        r#"select t.id, t.status as "status: Status", t.reference, t.expected_at as "expected_at: Timestamp", t.version,
               t.shipped_at as "shipped_at: Timestamp", t.created_at as "created_at: Timestamp",
               t.updated_at as "updated_at: Timestamp", t.from_store_id, f.name as from_name, f.location as from_location,
               t.to_store_id, s.name as to_name, s.location as to_location, l.product_id, p.title, c.code as "sku?",
               l.quantity, l.shipped, l.received, l.damaged, l.lost, l.returned, l.in_transit
           from transfer t join store f on f.id = t.from_store_id join store s on s.id = t.to_store_id
               join transfer_line l on l.transfer_id = t.id join product p on p.id = l.product_id
               left join product_code c on c.product_id = p.id and c.kind = 'SKU'
           where t.id = $1 order by l.product_id"#,
        id
    )
    .fetch_all(db)
    .await?;
    let items = rows.iter().map(|row| TransferItem {
        product_id: row.product_id,
        product_title: row.title.clone(),
        sku: row.sku.clone(),
        quantity: row.quantity,
        shipped: row.shipped,
        received: row.received,
        damaged: row.damaged,
        lost: row.lost,
        returned: row.returned,
        in_transit: row.in_transit,
    });
    let items = items.collect();
    Ok(rows.into_iter().next().map(|row| Transfer {
        id: row.id,
        status: row.status,
        from_store: StoreSummary {
            id: row.from_store_id,
            name: row.from_name,
            location: row.from_location,
        },
        to_store: StoreSummary {
            id: row.to_store_id,
            name: row.to_name,
            location: row.to_location,
        },
        reference: row.reference,
        expected_at: row.expected_at,
        version: row.version,
        shipped_at: row.shipped_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        items,
    }))
}

/// Locks a transfer.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("select from transfer where id = $1 for no key update", id)
        .execute(tx)
        .await
        .map(drop)
}

/// Reads a locked transfer in a later statement.
pub async fn read(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<TransferState>> {
    let rows = sqlx::query!(
        r#"select t.from_store_id, t.to_store_id, t.status as "status: Status", t.reference,
               t.expected_at as "expected_at: Timestamp", t.version, l.product_id, l.quantity, l.shipped, l.received,
               l.damaged, l.lost, l.returned
           from transfer t join transfer_line l on l.transfer_id = t.id where t.id = $1 order by l.product_id"#,
        id
    )
    .fetch_all(tx)
    .await?;
    let lines = rows.iter().map(|row| Line {
        product_id: row.product_id,
        quantity: row.quantity,
        shipped: row.shipped,
        received: row.received,
        damaged: row.damaged,
        lost: row.lost,
        returned: row.returned,
    });
    let lines = lines.collect();
    Ok(rows.into_iter().next().map(|row| TransferState {
        id,
        from_store_id: row.from_store_id,
        to_store_id: row.to_store_id,
        status: row.status,
        reference: row.reference,
        expected_at: row.expected_at,
        version: row.version,
        lines,
    }))
}

/// An id for a new transfer.
pub async fn next_id(tx: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select nextval('transfer_id_seq') as "id!""#)
        .fetch_one(tx)
        .await
}

/// Writes a new or changed transfer with all its lines, in one statement.
pub async fn write(tx: &mut PgConnection, transfer: &TransferState) -> sqlx::Result<()> {
    let column = |of: fn(&Line) -> i32| -> Vec<i32> { transfer.lines.iter().map(of).collect() };
    let products: Vec<i64> = transfer.lines.iter().map(|line| line.product_id).collect();
    sqlx::query!(
        "with dropped as (
             delete from transfer_line where transfer_id = $1 and product_id <> all($8)
         ), line as (
             insert into transfer_line (transfer_id, product_id, quantity, shipped, received, damaged, lost, returned)
             select $1, * from unnest($8::bigint[], $9::integer[], $10::integer[], $11::integer[], $12::integer[],
                 $13::integer[], $14::integer[])
             on conflict (transfer_id, product_id) do update set quantity = excluded.quantity, shipped = excluded.shipped,
                 received = excluded.received, damaged = excluded.damaged, lost = excluded.lost, returned = excluded.returned
         )
         insert into transfer as t (id, from_store_id, to_store_id, status, reference, expected_at, version, shipped_at)
         overriding system value
         values ($1, $2, $3, $4, $5, $6, $7, case when $4 not in ('DRAFT', 'CANCELLED') then statement_timestamp() end)
         on conflict (id) do update set status = excluded.status, reference = excluded.reference,
             expected_at = excluded.expected_at, version = excluded.version,
             shipped_at = coalesce(t.shipped_at, excluded.shipped_at), updated_at = greatest(statement_timestamp(), t.updated_at)",
        transfer.id,
        transfer.from_store_id,
        transfer.to_store_id,
        transfer.status.as_str(),
        transfer.reference,
        transfer.expected_at as Option<Timestamp>,
        transfer.version,
        &products,
        &column(|line| line.quantity),
        &column(|line| line.shipped),
        &column(|line| line.received),
        &column(|line| line.damaged),
        &column(|line| line.lost),
        &column(|line| line.returned),
    )
    .execute(tx)
    .await
    .map(drop)
}
