//! The command that adds a document to an order.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    decision::{Decision, DocumentItem},
    kind::Kind,
    queries::{self, Facts, NewRow, OrderItems},
    request::{NewCancellation, NewFulfillment, NewReturn, Tracking, Wanted},
};
use crate::{
    http::{
        Answered, ApiError, CommandContext, Decided, Document, FieldSource, Presence, StateConflict,
        carry_out,
    },
    ledger::{Change, Recorded, Refusal, RowKey, StockRow},
    money::Money,
    order::{
        model::{Order, OrderItem, Status},
        progress::Fulfillment,
        queries as orders,
    },
    product::codes,
    store,
    timestamp::Timestamp,
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Order");

/// A document, and the stock rows that it may change.
#[derive(Debug)]
struct OrderDocument {
    order_id: i64,
    store_id: i64,
    wanted: Wanted,
    keys: Vec<RowKey>,
}

/// A document of an order, with the order after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentAnswer {
    /// Id.
    id: i64,
    /// Kind.
    kind: Kind,
    /// Items.
    items: Vec<DocumentItem>,
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Note.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    note: Option<String>,
    /// How the parcel is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tracking: Option<Tracking>,
    /// Refund. Money is not moved.
    refund_amount: Money,
    /// The store that took the units, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    to_store_id: Option<i64>,
    /// Time.
    created_at: Timestamp,
    /// The order after it.
    order: Order,
}

impl DocumentAnswer {
    /// The units that it names.
    pub fn units(&self) -> i64 {
        self.items.iter().map(|item| i64::from(item.quantity)).sum()
    }
}

impl Order {
    /// The units of an item that a document of this kind may name.
    pub fn left(&self, item: &OrderItem, kind: Kind) -> i32 {
        let is_tracked = self.fulfillment != Fulfillment::NotTracked;
        kind.left(is_tracked, item.quantity, item.progress.unwrap_or_default())
    }

    /// Whether a document of this kind is possible.
    pub fn permits(&self, kind: Kind) -> bool {
        self.status == Status::Confirmed && self.items.iter().any(|item| self.left(item, kind) > 0)
    }
}

/// Carries out a document about an order.
pub async fn add(
    context: &CommandContext,
    order_id: i64,
    source: &impl FieldSource,
    kind: Kind,
) -> Result<Answered<DocumentAnswer>, ApiError> {
    let order = queries::items(context.reads(), order_id).await?;
    let order = order
        .filter(|order| context.caller.grant.stores.contains(order.store_id))
        .ok_or(NO_SUCH)?;
    let mut fields = source.fields(Presence::Complete)?;
    let wanted = match kind {
        Kind::Cancellation => NewCancellation::read(&mut fields),
        Kind::Fulfillment => Some(NewFulfillment::read(&mut fields)),
        Kind::Return => NewReturn::read(&mut fields),
    };
    let wanted = fields.finish_all(wanted)?;
    let document = OrderDocument::resolve(context, &order, wanted).await?;
    carry_out(context, &document).await
}

impl OrderDocument {
    /// Looks up SKUs, and the store that takes the units. Items and store of an order never change.
    async fn resolve(
        context: &CommandContext,
        order: &OrderItems,
        mut wanted: Wanted,
    ) -> Result<Self, ApiError> {
        let db = context.reads();
        if let Some(items) = &mut wanted.items {
            let skus: Vec<Option<&str>> = items.iter().map(|item| item.sku.as_deref()).collect();
            let products = codes::resolve(db, "items", &skus).await?;
            for (item, product) in items.iter_mut().zip(products) {
                item.product_id = item.product_id.or(product);
            }
        }
        let other = wanted.to_store_id.filter(|id| *id != order.store_id);
        if let Some(id) = other {
            if !store::exists(db, id).await? {
                let message = format!("Invalid pk \"{id}\" - object does not exist.");
                return Err(ApiError::field("to_store_id", message));
            }
            if !context.caller.grant.stores.contains(id) {
                return Err(StateConflict::store_required(id).into());
            }
        }
        let to_store = other.unwrap_or(order.store_id);
        let is_named = |item_id: i64, product_id: i64| {
            wanted.items.as_ref().is_none_or(|items| {
                items
                    .iter()
                    .any(|item| item.order_item_id == Some(item_id) || item.product_id == Some(product_id))
            })
        };
        let named = order
            .items
            .iter()
            .filter(|(item, product)| is_named(*item, *product));
        let products: BTreeSet<i64> = named.map(|(_, product)| *product).collect();
        Ok(Self {
            order_id: order.id,
            store_id: order.store_id,
            keys: products
                .into_iter()
                .map(|product| RowKey::Pair(to_store, product))
                .collect(),
            wanted,
        })
    }

    /// The store that takes the units, if it is not that of the order.
    fn to_other_store(&self) -> Option<i64> {
        self.wanted.to_store_id.filter(|id| *id != self.store_id)
    }

    fn change<'a>(
        &'a self,
        row: &StockRow,
        item: &DocumentItem,
        facts: &Facts,
        is_tracked: bool,
    ) -> Result<Option<Change<'a>>, ApiError> {
        let after = row
            .plus(item.restocked)
            .map_err(|refusal| refusal.of_row(row.id))?;
        if row.is_new && item.restocked == 0 {
            return Ok(None);
        }
        let frees = is_tracked && self.wanted.kind != Kind::Return;
        Ok(Some(Change {
            reason: self.wanted.reason.as_deref(),
            committed: if frees { -item.quantity } else { 0 },
            order_id: Some(self.order_id),
            document: Some((self.wanted.kind.as_str(), facts.document_id)),
            ..Change::new(row.id, self.wanted.kind.movement(), (row.quantity, after))
        }))
    }
}

impl Document for OrderDocument {
    type Facts = Facts;
    /// The id of the document, and what it changes.
    type Decision = (i64, Decision);
    type Answer = DocumentAnswer;

    fn kind(&self) -> &'static str {
        match self.wanted.kind {
            Kind::Cancellation => "cancellation",
            Kind::Fulfillment => "fulfillment",
            Kind::Return => "return",
        }
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    /// A stock row may have been deleted since the order.
    fn creates_rows(&self) -> bool {
        self.wanted.kind != Kind::Fulfillment
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        queries::lock(tx, self.order_id).await
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Facts, ApiError> {
        queries::read(tx, self.order_id).await
    }

    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        facts: &'a Facts,
    ) -> Result<Decided<'a, Self::Decision>, ApiError> {
        let order = facts.order.as_ref().ok_or(NO_SUCH)?;
        if !facts.is_upgraded {
            return Err(StateConflict::upgrade_in_progress().into());
        }
        let decision = order.decide(&self.wanted)?;
        let mut changes = Vec::new();
        for item in &decision.items {
            match rows.iter().find(|row| row.product_id == item.product_id) {
                Some(row) => changes.extend(self.change(row, item, facts, order.is_tracked)?),
                None if item.restocked > 0 => return Err(Refusal::NOT_FOUND.into()),
                // Nothing is put back into a row that was deleted.
                None => {}
            }
        }
        Ok(Decided {
            status: StatusCode::CREATED,
            changes,
            decision: (facts.document_id, decision),
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        (id, decision): Self::Decision,
        _recorded: &[Option<Recorded>],
    ) -> Result<DocumentAnswer, ApiError> {
        let actor = context.audit_context().actor;
        let row = NewRow {
            id,
            order_id: self.order_id,
            wanted: &self.wanted,
            to_store_id: self.to_other_store(),
        };
        let created_at = queries::write(tx, &row, &decision, &actor).await?;
        let order = orders::get_within(tx, self.order_id).await?.ok_or(NO_SUCH)?;
        let Wanted {
            kind,
            reason,
            note,
            tracking,
            ..
        } = &self.wanted;
        let answer = DocumentAnswer {
            id,
            kind: *kind,
            items: decision.items,
            reason: reason.clone(),
            note: note.clone(),
            tracking: tracking.clone(),
            refund_amount: decision.refund,
            to_store_id: self.to_other_store(),
            created_at,
            order,
        };
        let entry = AuditEntry {
            document: id,
            items: &answer.items,
            reason: reason.as_deref(),
            refund_amount: answer.refund_amount,
        };
        context
            .record(tx, kind.action(), self.order_id, (None, Some(&entry)))
            .await?;
        Ok(answer)
    }
}

/// The audit entry of a document.
#[derive(Serialize)]
struct AuditEntry<'a> {
    document: i64,
    items: &'a [DocumentItem],
    reason: Option<&'a str>,
    refund_amount: Money,
}
