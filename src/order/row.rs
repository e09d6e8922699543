//! The rows of the list of orders.

use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};
use utoipa::ToSchema;

use super::{
    data::Customer,
    model::{OrderItem, Status},
};
use crate::{http::Listed, money::Money, timestamp::Timestamp};

/// An order as a row of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderRow {
    pub(super) id: i64,
    store_name: String,
    store_location: String,
    status: Status,
    total_amount: Money,
    item_count: i64,
    pub(super) created_at: Timestamp,
    /// The client's reference; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    external_reference: Option<String>,
    /// Customer; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    customer: Option<Customer>,
    /// Items; only with `expand=items`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) items: Option<Vec<OrderItem>>,
}

/// Selects the rows of a page, with the count in `total`.
pub(super) const SELECT_ROWS: &str = "select (select count from total), o.id, s.name, s.location, o.status, o.total_amount,
    (select count(*) from order_item i where i.order_id = o.id), o.created_at, o.external_reference, o.customer
    from page o join store s on s.id = o.store_id";

/// From the second column on, because the first is the count.
impl FromRow<'_, PgRow> for OrderRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get_unchecked(1)?,
            store_name: row.try_get_unchecked(2)?,
            store_location: row.try_get_unchecked(3)?,
            status: row.try_get_unchecked(4)?,
            total_amount: row.try_get_unchecked(5)?,
            item_count: row.try_get_unchecked(6)?,
            created_at: row.try_get_unchecked(7)?,
            external_reference: row.try_get_unchecked(8)?,
            customer: row
                .try_get_unchecked::<Option<Json<Customer>>, _>(9)?
                .map(|customer| customer.0),
            items: None,
        })
    }
}

impl Listed for OrderRow {
    type Key = i64;

    const LIST: &'static str = "orders";
    const START: Self::Key = i64::MAX;

    fn key(&self) -> Self::Key {
        self.id
    }
}
