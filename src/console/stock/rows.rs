//! Stock rows as a resource: the field that a form edits, and what a deletion takes along.

use serde_json::Value;

use super::SECTION;
use crate::{
    auth::{Scope, Stores},
    console::{
        confirm::{DeletePreview, plural},
        edit::Field,
        operator::Operator,
        resource::Resource,
    },
    db::ReadPool,
    http::{ApiError, CommandContext, FormFields, Precondition, Presence, Unconditional},
    inventory::{self, Inventory, commands},
};

/// The stock of a product in a store, as the pages of resources see it.
#[derive(Debug)]
pub struct StockRows;

impl Resource for StockRows {
    const SUBJECT: &'static str = "stock";
    const SECTION: &'static str = SECTION;
    const NAME: &'static str = "stock row";
    const PLURAL: &'static str = "stock rows";
    const FIELDS: &'static [Field] = &[Field::text(
        "low_stock_threshold",
        "Low-stock threshold",
        "/low_stock_threshold",
        10,
    )];
    type Record = Inventory;

    fn may_write(operator: &Operator) -> bool {
        operator.may(Scope::InventoryWrite)
    }

    async fn find(db: &ReadPool, stores: &Stores, id: i64) -> sqlx::Result<Option<Inventory>> {
        let row = inventory::get(db, id).await?;
        Ok(row.filter(|row| stores.contains(row.store.id)))
    }

    async fn update(
        context: &CommandContext,
        id: i64,
        expected: &impl Precondition,
        source: &FormFields<'_>,
    ) -> Result<Self::Record, ApiError> {
        commands::update(context, id, expected, source, Presence::Partial).await
    }

    async fn delete(context: &CommandContext, id: i64) -> Result<(), ApiError> {
        commands::delete(context, id, &Unconditional).await
    }

    async fn delete_preview(db: &ReadPool, id: i64) -> sqlx::Result<DeletePreview> {
        let row = inventory::get(db, id).await?;
        let left = match row.map_or(0, |row| row.quantity) {
            0 => "No units are in stock.".to_owned(),
            left => format!(
                "Also removes the stock: {}.",
                plural(left.into(), "unit", "units")
            ),
        };
        Ok(Ok(format!(
            "{left} The store then rejects orders for the product. The stock history is kept."
        )))
    }

    fn title(record: &Value) -> String {
        let text = |pointer| {
            record
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        format!("{} in {}", text("/product/title"), text("/store/name"))
    }
}
