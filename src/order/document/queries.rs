//! The SQL of documents.

use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use super::{
    decision::{Decision, Line, OrderState},
    request::Wanted,
};
use crate::{
    audit::Actor,
    http::ApiError,
    money::Money,
    order::{Status, progress::Progress},
    timestamp::Timestamp,
};

/// An order as it is under its lock, with an id for the document.
#[derive(Debug, Default)]
pub struct Facts {
    pub order: Option<OrderState>,
    pub document_id: i64,
    /// Whether no server of an earlier release is running.
    pub is_upgraded: bool,
}

/// What never changes of an order.
#[derive(Debug)]
pub struct OrderItems {
    pub id: i64,
    pub store_id: i64,
    /// The ids of the items and of their products.
    pub items: Vec<(i64, i64)>,
}

/// The items of an order.
pub async fn items(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Option<OrderItems>> {
    let rows = sqlx::query!(
        r#"select o.store_id, i.id as "item_id?", i.product_id as "product_id?"
           from orders o left join order_item i on i.order_id = o.id where o.id = $1"#,
        order
    )
    .fetch_all(db)
    .await?;
    Ok(rows.first().map(|first| OrderItems {
        id: order,
        store_id: first.store_id,
        items: rows
            .iter()
            .filter_map(|row| row.item_id.zip(row.product_id))
            .collect(),
    }))
}

/// Locks an order.
pub async fn lock(tx: &mut PgConnection, order: i64) -> sqlx::Result<()> {
    sqlx::query!("select from orders where id = $1 for no key update", order)
        .execute(tx)
        .await
        .map(drop)
}

/// Reads a locked order in a later statement, and takes an id for the document.
pub async fn read(tx: &mut PgConnection, order: i64) -> Result<Facts, ApiError> {
    let rows = sqlx::query!(
        r#"select o.status as "status: Status", coalesce(o.tracked, false) as "is_tracked!", coalesce(o.version, 1) as "version!",
               o.total_amount as "total_amount: Money", coalesce(o.refunded_amount, 0) as "refunded_amount!: Money",
               (select nextval('order_document_id_seq')) as "document_id!",
               exists (select from completed_upgrade where name = 'order_documents') as "is_upgraded!",
               i.id as "item_id?", i.product_id as "product_id?", i.quantity as "quantity?",
               i.unit_price as "unit_price?: Money", g.cancelled as "cancelled?", g.fulfilled as "fulfilled?",
               g.returned as "returned?", g.restocked as "restocked?"
           from orders o left join order_item i on i.order_id = o.id
               left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
           where o.id = $1 order by i.id"#,
        order
    )
    .fetch_all(tx)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(Facts::default());
    };
    let lines = rows.iter().filter_map(|row| {
        Some(Line {
            item_id: row.item_id?,
            product_id: row.product_id?,
            quantity: row.quantity?,
            unit_price: row.unit_price?,
            progress: Progress {
                cancelled: row.cancelled.unwrap_or_default(),
                fulfilled: row.fulfilled.unwrap_or_default(),
                returned: row.returned.unwrap_or_default(),
                restocked: row.restocked.unwrap_or_default(),
            },
        })
    });
    Ok(Facts {
        document_id: first.document_id,
        is_upgraded: first.is_upgraded,
        order: Some(OrderState {
            status: first.status,
            is_tracked: first.is_tracked,
            version: first.version,
            total_amount: first.total_amount,
            refunded_amount: first.refunded_amount,
            lines: lines.collect(),
        }),
    })
}

/// A document to write.
#[derive(Debug)]
pub struct NewRow<'a> {
    pub id: i64,
    pub order_id: i64,
    pub wanted: &'a Wanted,
    /// The store that takes the units, if it is not that of the order.
    pub to_store_id: Option<i64>,
}

/// Writes a document, the progress of the items, and the order, in one statement. Returns the time of the document.
///
/// The confirmation of an order that is cancelled now is withheld, unless it was sent.
pub async fn write(
    tx: &mut PgConnection,
    document: &NewRow<'_>,
    decision: &Decision,
    actor: &Actor,
) -> sqlx::Result<Timestamp> {
    let wanted = document.wanted;
    let item_ids: Vec<i64> = decision.items.iter().map(|item| item.order_item_id).collect();
    let quantities: Vec<i32> = decision.items.iter().map(|item| item.quantity).collect();
    let restocked: Vec<i32> = decision.items.iter().map(|item| item.restocked).collect();
    sqlx::query_scalar!(
        r#"with document as (
               insert into order_document (id, order_id, kind, items, reason, note, tracking, refund_amount, to_store_id, actor, actor_name)
               overriding system value values ($1, $2, $3, $4::text::json, $5, $6, $7::text::json, $8, $9, $10, $11)
               returning created_at
           ), progressed as (
               insert into order_line_progress as line (order_id, item_id, quantity, cancelled, fulfilled, returned, restocked)
               select i.order_id, i.id, i.quantity, case $3 when 'CANCELLATION' then units else 0 end,
                   case $3 when 'FULFILLMENT' then units else 0 end, case $3 when 'RETURN' then units else 0 end, back
               from unnest($12::bigint[], $13::integer[], $14::integer[]) as u (item_id, units, back)
                   join order_item i on i.order_id = $2 and i.id = u.item_id
               on conflict (order_id, item_id) do update set cancelled = line.cancelled + excluded.cancelled,
                   fulfilled = line.fulfilled + excluded.fulfilled, returned = line.returned + excluded.returned,
                   restocked = line.restocked + excluded.restocked
           ), changed as (
               update orders set version = coalesce(version, 1) + 1,
                   status = case when $15 then 'CANCELLED' else status end,
                   refunded_amount = nullif(coalesce(refunded_amount, 0) + $8, 0),
                   updated_at = greatest(statement_timestamp(), updated_at)
               where id = $2
           ), withheld as (
               insert into order_confirmation (order_id, withheld) select $2, true where $15 on conflict do nothing
           ), unsent as (
               delete from delivery where $15 and order_id = $2 and due_at is not null
           )
           select created_at as "created_at: Timestamp" from document"#,
        document.id,
        document.order_id,
        wanted.kind.as_str(),
        json(&decision.items)?,
        wanted.reason,
        wanted.note,
        wanted.tracking.as_ref().map(json).transpose()?,
        decision.refund as Money,
        document.to_store_id,
        actor.label(),
        actor.name(),
        &item_ids,
        &quantities,
        &restocked,
        decision.cancels_all,
    )
    .fetch_one(tx)
    .await
}

/// As text, because PostgreSQL would sort the members of `jsonb`.
fn json<T: Serialize + ?Sized>(value: &T) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
