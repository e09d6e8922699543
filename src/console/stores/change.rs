//! How stores are created, edited and deleted.

use super::{SECTION, queries};
use crate::{
    auth::{Scope, Stores as Granted},
    console::{
        confirm::{DeletePreview, plural},
        edit::Field,
        form::Form,
        operator::Operator,
        query::Query,
        resource::{Editable, Resource},
    },
    db::ReadPool,
    http::{ApiError, CommandContext, FormFields, Precondition, Presence, Unconditional},
    store::{self, Store, commands},
};

/// Stores, as the pages of resources see them.
#[derive(Debug)]
pub struct Stores;

impl Resource for Stores {
    const SUBJECT: &'static str = "store";
    const SECTION: &'static str = SECTION;
    const NAME: &'static str = "store";
    const PLURAL: &'static str = "stores";
    const INACTIVE: &'static str = "takes no orders";
    const FIELDS: &'static [Field] = &[
        Field::text("name", "Name", "/name", 200),
        Field::text("location", "Location", "/location", 300).hint("Up to 300 characters."),
        Field::choice(
            "fulfillment",
            "Hand-over",
            "/fulfillment",
            &[
                ("IMMEDIATE", "When an order is confirmed"),
                ("TRACKED", "Tracked on each order"),
            ],
        )
        .hint("For orders from now on."),
        Field::checkbox("is_active", "Active (takes orders)", "/is_active"),
    ];
    type Record = Store;

    fn may_write(operator: &Operator) -> bool {
        operator.may(Scope::CatalogWrite)
    }

    async fn find(db: &ReadPool, stores: &Granted, id: i64) -> sqlx::Result<Option<Store>> {
        let store = store::get(db, id).await?;
        Ok(store.filter(|store| stores.contains(store.id)))
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
        let takes = queries::takes(db, id).await?;
        if takes.ordered {
            return Ok(Err("Has orders, so it can't be deleted. Deactivate it instead."));
        }
        Ok(Ok(match takes.stock_rows {
            0 => "It has no stock: nothing else is deleted.".to_owned(),
            rows => format!(
                "Also deletes its stock: {} of {}.",
                plural(takes.units, "unit", "units"),
                plural(rows, "product", "products")
            ),
        }))
    }
}

impl Editable for Stores {
    fn blank(_: &Query) -> Form {
        Form::of([("is_active", "on".into())])
    }

    async fn create(context: &CommandContext, source: &FormFields<'_>) -> Result<i64, ApiError> {
        let created = commands::create(context, source).await?;
        Ok(created.id)
    }
}
