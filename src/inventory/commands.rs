//! What changes stock. Every change of a quantity is made under the row's lock, and written to the ledger with it.

use axum::http::StatusCode;
use sqlx::{PgConnection, PgPool};

use super::{
    model::{Inventory, InventoryFields},
    movement::{Movement, NewMovement},
    movement_queries, queries,
};
use crate::{
    audit,
    auth::Stores,
    db::{self, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, PageQuery, Precondition, Presence},
    ledger::{self, Change, Movement as Kind, Scope},
    product, store,
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Inventory");
const ORDERED: &str = "Cannot move this stock to another store or product: orders refer to it.";

/// Creates the stock of a product in a store, with its first movement.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Inventory, ApiError> {
    let stores = &context.caller.grant.stores;
    let fields = read(context.db(), stores, source, Presence::Complete).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let inserted = queries::insert(&mut *tx, &fields).await;
        let (id, quantity) = inserted.map_err(|error| refused(error, &fields))?;
        let change = Change {
            movement: Kind::Initial,
            delta: quantity,
            quantity_after: quantity,
            actor: by.actor.label(),
            reason: None,
        };
        ledger::record(&mut *tx, id, change).await?;
        let created = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        audit::record(
            &mut *tx,
            &by,
            "stock.created",
            subject(id),
            (None, Some(&created)),
        )
        .await?;
        context.key.commit(tx, &created).await?;
        Ok(created)
    })
    .await
}

/// Writes the fields that are given, if the row is what is expected. A row that orders took from stays with its store and
/// product: orders, ledger and flags refer to both by it.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Inventory, ApiError> {
    let stores = &context.caller.grant.stores;
    expected.require(&granted(context.db(), stores, id).await?)?;
    let fields = read(context.db(), stores, source, presence).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let is_moved = fields.moves(&before);
        let updated = queries::update(&mut *tx, id, &fields).await;
        updated.map_err(|error| refused(error, &fields))?;
        // Checked after the update: of a pair that is taken clients are told first.
        if is_moved && ledger::lock(&mut tx, Scope::Row(id)).await? {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        let after = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        if is_moved {
            record_move(&mut tx, &before, &after, by.actor.label()).await?;
        } else {
            record_adjustment(&mut tx, &before, after.quantity, by.actor.label(), None).await?;
        }
        let states = (Some(&before), Some(&after));
        audit::record(&mut *tx, &by, "stock.changed", subject(id), states).await?;
        db::commit(tx).await?;
        Ok(after)
    })
    .await
}

/// Deletes a stock row, and what is left in it.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    let (by, stores) = (context.audit_context(), &context.caller.grant.stores);
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        ledger::remove(&mut tx, Scope::Row(id), by.actor.label().as_deref()).await?;
        audit::record(&mut *tx, &by, "stock.deleted", subject(id), (Some(&before), None)).await?;
        Ok(db::commit(tx).await?)
    })
    .await
}

/// Changes a quantity, and notes the reason in the ledger.
pub async fn adjust(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Movement, ApiError> {
    let (by, stores) = (context.audit_context(), &context.caller.grant.stores);
    granted(context.db(), stores, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewMovement::read(&mut fields);
    let sent = fields.finish_all(read)?;
    let mut tx = context.db().begin().await?;
    let before = queries::lock(&mut tx, id, stores).await?.ok_or(NO_SUCH)?;
    let quantity = sent.apply(before.quantity)?;
    queries::set_quantity(&mut *tx, id, quantity).await?;
    record_adjustment(&mut tx, &before, quantity, by.actor.label(), Some(&sent.reason)).await?;
    let after = queries::get(&mut *tx, id).await?;
    let states = (Some(&before), after.as_ref());
    audit::record(&mut *tx, &by, "stock.changed", subject(id), states).await?;
    let latest = movement_queries::list(&mut *tx, id, &PageQuery::first(1)).await?;
    let movement = latest.into_iter().next().ok_or(NO_SUCH)?;
    context.key.commit(tx, &movement).await?;
    Ok(movement)
}

/// A row, if the caller may see it.
pub(super) async fn granted(db: &PgPool, stores: &Stores, id: i64) -> Result<Inventory, ApiError> {
    let row = queries::get(db, id).await?;
    row.filter(|row| stores.contains(row.store.id)).ok_or(NO_SUCH)
}

/// Reads the fields, and looks up store and product. A store that is not granted does not exist for the caller.
async fn read(
    db: &PgPool,
    stores: &Stores,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<InventoryFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = InventoryFields::read(&mut fields);
    if let Some(reference) = &read.store_id
        && !(stores.contains(reference.id) && store::exists(db, reference.id).await?)
    {
        fields.reject("store_id", reference.missing());
    }
    if let Some(reference) = &read.product_id
        && !product::exists(db, reference.id).await?
    {
        fields.reject("product_id", reference.missing());
    }
    fields.finish(read)
}

async fn record_adjustment(
    tx: &mut PgConnection,
    before: &Inventory,
    quantity: i32,
    actor: Option<String>,
    reason: Option<&str>,
) -> sqlx::Result<()> {
    let change = Change {
        movement: Kind::Adjustment,
        delta: quantity - before.quantity,
        quantity_after: quantity,
        actor,
        reason,
    };
    ledger::record(tx, before.id, change).await.map(drop)
}

/// Ends the history of a row as stock of one store and product, and begins the one of the other.
async fn record_move(
    tx: &mut PgConnection,
    before: &Inventory,
    after: &Inventory,
    actor: Option<String>,
) -> sqlx::Result<()> {
    let name = |row: &Inventory| format!("product {} in store {}", row.product.id, row.store.id);
    let (to, from) = (
        format!("Moved to {}", name(after)),
        format!("Moved from {}", name(before)),
    );
    let removal = Change {
        movement: Kind::Removal,
        delta: -before.quantity,
        quantity_after: 0,
        actor: actor.clone(),
        reason: Some(&to),
    };
    ledger::record(&mut *tx, before.id, removal).await?;
    let initial = Change {
        movement: Kind::Initial,
        delta: after.quantity,
        quantity_after: after.quantity,
        actor,
        reason: Some(&from),
    };
    ledger::record(tx, after.id, initial).await.map(drop)
}

fn subject(id: i64) -> String {
    format!("stock:{id}")
}

/// The pair may be taken; store or product may be deleted after they were looked up.
fn refused(error: sqlx::Error, fields: &InventoryFields) -> ApiError {
    match (violated_constraint(&error), &fields.store_id, &fields.product_id) {
        (Some("inventory_store_product_key"), ..) => {
            ApiError::non_field("The fields store_id, product_id must make a unique set.")
        }
        (Some("inventory_store_id_fkey"), Some(store), _) => ApiError::field("store_id", store.missing()),
        (Some("inventory_product_id_fkey"), _, Some(product)) => {
            ApiError::field("product_id", product.missing())
        }
        _ => error.into(),
    }
}
