//! The bodies of transfers. Their items name products by id or by SKU.

use utoipa::ToSchema;

use super::decision::{ByProduct, Receipt, Settlement};
use crate::{
    db::ReadPool,
    http::{ApiError, Fields, Nullable, Reference, boolean, integer, reference, text, timestamp, units},
    product::item::{self, MOST_ITEMS},
    timestamp::Timestamp,
};

const LONGEST_REFERENCE: usize = 100;
const REPEATED: &str = "Each product may appear once.";

/// A new transfer.
#[derive(Debug, ToSchema)]
pub struct NewTransfer {
    /// Id of the store that ships.
    #[schema(value_type = i64)]
    pub from_store_id: Reference,
    /// Id of the store that receives.
    #[schema(value_type = i64)]
    pub to_store_id: Reference,
    /// Items. Each product may appear once.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<NewTransferItem>,
    /// The client's reference, such as the number of a delivery note.
    #[schema(max_length = 100)]
    pub reference: Option<String>,
    /// When it is expected to arrive.
    pub expected_at: Option<Timestamp>,
    /// Ships and receives all items at once.
    #[schema(default = false, value_type = Option<bool>, nullable = false)]
    pub immediate: bool,
}

/// A change of a draft. What is left out stays.
#[derive(Debug, ToSchema)]
pub struct TransferChange {
    /// All items.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Option<Vec<NewTransferItem>>,
    /// The client's reference.
    #[schema(max_length = 100, value_type = Option<String>)]
    pub reference: Nullable<String>,
    /// When it is expected to arrive.
    #[schema(value_type = Option<Timestamp>)]
    pub expected_at: Nullable<Timestamp>,
    /// The request is refused if this is not the version of the transfer.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// What leaves the source.
#[derive(Debug, ToSchema)]
pub struct NewShipment {
    /// Items; null or left out for all units. Units that are not shipped are dropped.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Option<Vec<NewTransferItem>>,
    /// The request is refused if this is not the version of the transfer.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// What arrived at the destination.
#[derive(Debug, ToSchema)]
pub struct NewReceipt {
    /// Items. May be left out with `close`.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Option<Vec<NewReceiptItem>>,
    /// Whether the units that are still in transit then are lost.
    #[schema(default = false, value_type = Option<bool>, nullable = false)]
    pub close: bool,
    /// The request is refused if this is not the version of the transfer.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// What becomes of the units that are in transit.
#[derive(Debug, ToSchema)]
pub struct NewSettlement {
    /// Items: all that is in transit. Left out for a draft.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Option<Vec<NewSettlementItem>>,
    /// The request is refused if this is not the version of the transfer.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// Units of a product. Names it by `product_id` or by `sku`.
#[derive(Debug, ToSchema)]
pub struct NewTransferItem {
    /// Id of the product.
    #[schema(minimum = 1)]
    product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Units.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    quantity: i32,
}

/// What arrived of a product. Names it by `product_id` or by `sku`. At least one of the numbers is not 0.
#[derive(Debug, ToSchema)]
pub struct NewReceiptItem {
    /// Id of the product.
    #[schema(minimum = 1)]
    product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Units that enter stock.
    #[schema(default = 0, minimum = 0, nullable = false)]
    received: Option<i32>,
    /// Units that arrived damaged. They do not enter stock.
    #[schema(default = 0, minimum = 0, nullable = false)]
    damaged: Option<i32>,
    /// Units that are lost.
    #[schema(default = 0, minimum = 0, nullable = false)]
    missing: Option<i32>,
}

/// What becomes of the units of a product. Names it by `product_id` or by `sku`. At least one of the numbers is not 0.
#[derive(Debug, ToSchema)]
pub struct NewSettlementItem {
    /// Id of the product.
    #[schema(minimum = 1)]
    product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Units that go back into the stock of the source.
    #[schema(default = 0, minimum = 0, nullable = false)]
    returned: Option<i32>,
    /// Units that are lost.
    #[schema(default = 0, minimum = 0, nullable = false)]
    lost: Option<i32>,
}

/// An item that names a product.
pub trait Named {
    /// What it says about the product.
    type Value;

    /// Its parts: the id of the product, or its SKU, and the value.
    fn parts(self) -> (Option<i64>, Option<String>, Self::Value);
}

impl NewTransfer {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let from_store_id = fields.required("from_store_id", reference);
        let to_store_id = fields.required("to_store_id", reference);
        let items = fields.required_list("items", MOST_ITEMS, NewTransferItem::read);
        let reference = fields.nullable("reference", text(LONGEST_REFERENCE));
        let expected_at = fields.nullable("expected_at", timestamp);
        let immediate = fields.optional("immediate", boolean);
        let (from_store_id, to_store_id) = (from_store_id?, to_store_id?);
        if from_store_id.id == to_store_id.id {
            fields.reject("to_store_id", "Must be another store than from_store_id.");
        }
        Some(Self {
            from_store_id,
            to_store_id,
            items: items?,
            reference: reference.value().cloned(),
            expected_at: expected_at.value().copied(),
            immediate: immediate.unwrap_or(false),
        })
    }
}

impl TransferChange {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            items: list(fields, NewTransferItem::read),
            reference: fields.nullable("reference", text(LONGEST_REFERENCE)),
            expected_at: fields.nullable("expected_at", timestamp),
            expected_version: fields.optional("expected_version", integer),
        }
    }
}

impl NewShipment {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            items: list(fields, NewTransferItem::read),
            expected_version: fields.optional("expected_version", integer),
        }
    }
}

impl NewReceipt {
    /// Reads the fields.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let items = list(fields, NewReceiptItem::read);
        let close = fields.optional("close", boolean).unwrap_or(false);
        if items.is_none() && !close {
            fields.reject("items", "This field is required, except with close.");
        }
        Self {
            items,
            close,
            expected_version: fields.optional("expected_version", integer),
        }
    }
}

impl NewSettlement {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            items: list(fields, NewSettlementItem::read),
            expected_version: fields.optional("expected_version", integer),
        }
    }
}

impl NewTransferItem {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (product_id, sku) = item::read_product(fields);
        Some(Self {
            product_id,
            sku,
            quantity: fields.required("quantity", units)?,
        })
    }
}

impl NewReceiptItem {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (product_id, sku) = item::read_product(fields);
        let [received, damaged, missing] =
            ["received", "damaged", "missing"].map(|name| fields.optional(name, integer));
        let has_units = [received, damaged, missing].iter().any(|units| *units > Some(0));
        if fields.is_valid() && !has_units {
            fields.reject("received", "Send at least one unit received, damaged or missing.");
        }
        fields.is_valid().then_some(Self {
            product_id,
            sku,
            received,
            damaged,
            missing,
        })
    }
}

impl NewSettlementItem {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (product_id, sku) = item::read_product(fields);
        let [returned, lost] = ["returned", "lost"].map(|name| fields.optional(name, integer));
        if fields.is_valid() && [returned, lost].iter().all(|units| *units <= Some(0)) {
            fields.reject("returned", "Send at least one unit returned or lost.");
        }
        fields.is_valid().then_some(Self {
            product_id,
            sku,
            returned,
            lost,
        })
    }
}

impl Named for NewTransferItem {
    type Value = i32;

    fn parts(self) -> (Option<i64>, Option<String>, i32) {
        (self.product_id, self.sku, self.quantity)
    }
}

impl Named for NewReceiptItem {
    type Value = Receipt;

    fn parts(self) -> (Option<i64>, Option<String>, Receipt) {
        let receipt = Receipt {
            received: self.received.unwrap_or(0),
            damaged: self.damaged.unwrap_or(0),
            missing: self.missing.unwrap_or(0),
        };
        (self.product_id, self.sku, receipt)
    }
}

impl Named for NewSettlementItem {
    type Value = Settlement;

    fn parts(self) -> (Option<i64>, Option<String>, Settlement) {
        let settlement = Settlement {
            returned: self.returned.unwrap_or(0),
            lost: self.lost.unwrap_or(0),
        };
        (self.product_id, self.sku, settlement)
    }
}

/// Looks up the products of SKUs. Each product may appear once.
pub async fn resolve<T: Named>(db: &ReadPool, items: Vec<T>) -> Result<ByProduct<T::Value>, ApiError> {
    let mut parts: Vec<_> = items.into_iter().map(T::parts).collect();
    let named = parts.iter_mut().map(|(id, sku, _)| (id, sku.as_deref()));
    item::resolve(db, named, REPEATED).await?;
    let named = parts.into_iter().filter_map(|(id, _, value)| Some((id?, value)));
    Ok(named.collect())
}

/// The same for items that may be left out.
pub async fn resolve_given<T: Named>(
    db: &ReadPool,
    items: Option<Vec<T>>,
) -> Result<Option<ByProduct<T::Value>>, ApiError> {
    match items {
        Some(items) => resolve(db, items).await.map(Some),
        None => Ok(None),
    }
}

fn list<T>(fields: &mut Fields<'_>, read: impl Fn(&mut Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
    fields.nullable_list("items", MOST_ITEMS, read).into_value()
}
