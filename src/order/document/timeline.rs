//! What happened to an order, oldest first.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{db::ReadPool, money::Money, timestamp::Timestamp};

/// What happened to an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// The events, oldest first; the first 1,000.
    events: Vec<Event>,
}

/// An event of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// `PLACED`, `CONFIRMED`, `REJECTED`, `CONFIRMATION_SENT`, `CONFIRMATION_WITHHELD`, `DELIVERED`, `DELIVERY_FAILED`, `CANCELLATION`,
    /// `FULFILLMENT`, `RETURN`, `CHANGED` or `REDACTED`.
    kind: String,
    /// Its time.
    occurred_at: Timestamp,
    /// The actor, such as `key:12`; null if it is unknown.
    actor: Option<String>,
    /// The name of the actor.
    actor_name: Option<String>,
    /// Reason, of a rejection or a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// `email` or `webhook`, of a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    channel: Option<String>,
    /// Id of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    document_id: Option<i64>,
    /// Items of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<super::decision::DocumentItem>>)]
    items: Option<Json<Box<RawValue>>>,
    /// Refund of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refund_amount: Option<Money>,
    /// Note of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    note: Option<String>,
    /// How the parcel is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<super::request::Tracking>)]
    tracking: Option<Json<Box<RawValue>>>,
    /// The store that took the units, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    to_store_id: Option<i64>,
}

/// Reads the timeline of an order.
pub async fn read(db: &ReadPool, order: i64) -> sqlx::Result<Timeline> {
    let events = sqlx::query_as!(
        Event,
        r#"with logged as (
               select action, at, actor, actor_name from audit_log where subject = 'order:' || $1::bigint
           ), event as (
               select 1 as place, 'PLACED' as event, o.created_at as at, l.actor, l.actor_name, null as reason, null as channel,
                   null::bigint as document_id, null::json as items, null::numeric as refund_amount, null as note,
                   null::json as tracking, null::bigint as to_store_id
               from orders o left join logged l on l.action = 'order.placed' where o.id = $1
               union all
               select 2, case when status = 'REJECTED' then 'REJECTED' else 'CONFIRMED' end, created_at, null, null,
                   nullif(rejection_reason, ''), null, null, null, null, null, null, null
               from orders where id = $1 and status <> 'PENDING'
               union all
               select 3, case when withheld then 'CONFIRMATION_WITHHELD' else 'CONFIRMATION_SENT' end, confirmed_at, null, null,
                   null, null, null, null, null, null, null, null
               from order_confirmation where order_id = $1
               union all
               select 4, case when dead_at is null then 'DELIVERED' else 'DELIVERY_FAILED' end, coalesce(delivered_at, dead_at),
                   null, null, null, channel, null, null, null, null, null, null
               from delivery where order_id = $1 and due_at is null
               union all
               select 5, kind, created_at, actor, actor_name, reason, null, id, items, refund_amount, note, tracking, to_store_id
               from order_document where order_id = $1
               union all
               select 6, case action when 'order.changed' then 'CHANGED' else 'REDACTED' end, at, actor, actor_name, null, null,
                   null, null, null, null, null, null
               from logged where action in ('order.changed', 'order.redacted')
           )
           select event as "kind!", at as "occurred_at!: Timestamp", actor, actor_name, reason, channel, document_id,
               items as "items: Json<Box<RawValue>>", refund_amount as "refund_amount: Money", note,
               tracking as "tracking: Json<Box<RawValue>>", to_store_id
           from event order by at, place, document_id limit 1000"#,
        order
    )
    .fetch_all(db)
    .await?;
    Ok(Timeline { events })
}
