//! Stock rows: what clients send, and what they receive.

use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};
use utoipa::ToSchema;

use crate::{
    http::{ApiError, Fields, Listed, Reference, boolean, integer, reference},
    ledger::StockRow,
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Inventory");

/// The stock of a product in a store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Inventory {
    /// Id.
    pub id: i64,
    /// Store.
    pub store: StoreSummary,
    /// Product.
    pub product: ProductSummary,
    /// Units that can be sold.
    pub quantity: i32,
    /// The part of `quantity` that is promised to reservations.
    pub reserved: i32,
    /// `quantity - reserved`
    pub available: i32,
    /// Units that are sold and not handed over yet.
    pub committed: i32,
    /// Units that are in the store: `quantity + committed`
    pub on_hand: i32,
    /// Units in transit to the store.
    pub incoming: i64,
    /// Stock is low at this quantity or below.
    pub low_stock_threshold: i32,
    /// `quantity <= low_stock_threshold`
    pub is_low_stock: bool,
    /// `quantity == 0`
    pub is_out_of_stock: bool,
    /// The last time that the quantity was set or counted; null if it never was.
    #[schema(required = true)]
    pub counted_at: Option<Timestamp>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change, by an order or an operator.
    pub updated_at: Timestamp,
}

impl Inventory {
    /// The row as the ledger sees it.
    pub(super) fn to_row(&self) -> StockRow {
        StockRow {
            id: self.id,
            store_id: self.store.id,
            product_id: self.product.id,
            quantity: self.quantity,
            reserved: self.reserved,
            committed: self.committed,
            is_new: false,
        }
    }

    /// The row with another quantity.
    pub(super) fn with_quantity(self, quantity: i32) -> Self {
        Self {
            quantity,
            available: quantity - self.reserved,
            on_hand: quantity.saturating_add(self.committed),
            is_low_stock: quantity <= self.low_stock_threshold,
            is_out_of_stock: quantity == 0,
            ..self
        }
    }
}

/// The stock of a product in a store, as a row of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct InventoryRow {
    id: i64,
    store_name: String,
    store_location: String,
    product_title: String,
    product_price: Money,
    category_name: String,
    quantity: i32,
    is_low_stock: bool,
    updated_at: Timestamp,
    /// Units in transit to the store.
    incoming: i64,
    /// The last time that the quantity was set or counted; null if it never was.
    #[schema(required = true)]
    counted_at: Option<Timestamp>,
}

/// From the second column on, because the first is the count.
impl FromRow<'_, PgRow> for InventoryRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get_unchecked(1)?,
            store_name: row.try_get_unchecked(2)?,
            store_location: row.try_get_unchecked(3)?,
            product_title: row.try_get_unchecked(4)?,
            product_price: row.try_get_unchecked(5)?,
            category_name: row.try_get_unchecked(6)?,
            quantity: row.try_get_unchecked(7)?,
            is_low_stock: row.try_get_unchecked(8)?,
            updated_at: row.try_get_unchecked(9)?,
            incoming: row.try_get_unchecked(10)?,
            counted_at: row.try_get_unchecked(11)?,
        })
    }
}

impl Listed for InventoryRow {
    type Key = (String, String, i64);

    const LIST: &'static str = "inventory";
    const START: Self::Key = (String::new(), String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.store_name.clone(), self.product_title.clone(), self.id)
    }
}

/// The editable fields of stock.
#[derive(Debug, ToSchema)]
pub struct InventoryFields {
    /// Id of a store, active or not.
    #[schema(required = true, nullable = false, value_type = i64)]
    pub store_id: Option<Reference>,
    /// Id of a product, active or not.
    #[schema(required = true, nullable = false, value_type = i64)]
    pub product_id: Option<Reference>,
    /// Quantity.
    #[schema(nullable = false, default = 0, minimum = 0)]
    pub quantity: Option<i32>,
    /// Stock is low at this quantity or below.
    #[schema(nullable = false, default = 10, minimum = 0)]
    pub low_stock_threshold: Option<i32>,
    /// A change is refused if this is not the current quantity.
    #[schema(nullable = false, minimum = 0)]
    pub expected_quantity: Option<i32>,
    /// Whether reservations lose the units that a lower quantity does not leave them, the newest first. Else the change is refused.
    #[schema(nullable = false, default = false, value_type = Option<bool>)]
    pub release_reservations: bool,
}

impl InventoryFields {
    /// Reads the fields. Absent or invalid ones are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            store_id: fields.required("store_id", reference),
            product_id: fields.required("product_id", reference),
            quantity: fields.optional("quantity", integer),
            low_stock_threshold: fields.optional("low_stock_threshold", integer),
            expected_quantity: fields.optional("expected_quantity", integer),
            release_reservations: fields.optional("release_reservations", boolean).unwrap_or(false),
        }
    }

    pub(super) fn store(&self) -> Option<i64> {
        self.store_id.as_ref().map(|reference| reference.id)
    }

    pub(super) fn product(&self) -> Option<i64> {
        self.product_id.as_ref().map(|reference| reference.id)
    }

    /// Whether the fields move a row to another store or product.
    pub(super) fn moves(&self, row: &Inventory) -> bool {
        self.store().is_some_and(|store| store != row.store.id)
            || self.product().is_some_and(|product| product != row.product.id)
    }
}

/// A filter of the list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only this product.
    pub product_id: Option<i64>,
    /// Only low stock.
    pub low_stock: bool,
    /// Only stock whose quantity was not set or counted since this time.
    pub counted_before: Option<Timestamp>,
}

impl Filter {
    /// The part that selects stores.
    pub(super) fn of_stores(&self) -> Self {
        Self {
            low_stock: false,
            counted_before: None,
            ..self.clone()
        }
    }

    /// The part that selects rows of a store.
    pub(super) fn of_rows(&self) -> Self {
        Self {
            stores: None,
            ..self.clone()
        }
    }

    /// Whether no counter has the number of rows.
    pub(super) fn counts_anew(&self) -> bool {
        self.counted_before.is_some()
    }
}
