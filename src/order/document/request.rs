//! The bodies of documents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kind::Kind;
use crate::{
    http::{Fields, amount, boolean, code, integer, line, positive, text, units},
    money::Money,
};

const MOST_ITEMS: usize = 100;
const LONGEST_REASON: usize = 200;
const LONGEST_NOTE: usize = 2000;

/// Cancels units that were not handed over, or in a store that does not track this, units that did not come back.
#[derive(Debug, ToSchema)]
pub struct NewCancellation {
    /// The items; null or left out for all units that are left.
    #[schema(min_items = 1, max_items = 100)]
    items: Option<Vec<NewDocumentItem>>,
    /// Why they are cancelled.
    #[schema(max_length = 200)]
    reason: String,
    /// Whether the units go back into stock.
    #[schema(value_type = Option<bool>, nullable = false, default = true)]
    restock: bool,
    /// The refund; the price of the units unless it is given.
    #[schema(value_type = Option<String>, nullable = false)]
    refund_amount: Option<Money>,
    /// The request is refused if this is not the version of the order.
    #[schema(nullable = false, minimum = 0)]
    expected_version: Option<i32>,
}

/// Hands over units of an order of a tracked store.
#[derive(Debug, ToSchema)]
pub struct NewFulfillment {
    /// The items; null or left out for all units that are left.
    #[schema(min_items = 1, max_items = 100)]
    items: Option<Vec<NewDocumentItem>>,
    /// How the parcel is found.
    tracking: Option<Tracking>,
    /// A note.
    #[schema(nullable = false, max_length = 2000)]
    note: Option<String>,
    /// The request is refused if this is not the version of the order.
    #[schema(nullable = false, minimum = 0)]
    expected_version: Option<i32>,
}

/// Takes back units that were handed over.
#[derive(Debug, ToSchema)]
pub struct NewReturn {
    /// The items; null or left out for all units that are left.
    #[schema(min_items = 1, max_items = 100)]
    items: Option<Vec<NewDocumentItem>>,
    /// Why they come back.
    #[schema(max_length = 200)]
    reason: String,
    /// Whether the units go back into stock.
    #[schema(value_type = Option<bool>, nullable = false, default = true)]
    restock: bool,
    /// The refund; the price of the units unless it is given.
    #[schema(value_type = Option<String>, nullable = false)]
    refund_amount: Option<Money>,
    /// The store that takes them; that of the order unless it is given.
    #[schema(nullable = false, minimum = 1)]
    to_store_id: Option<i64>,
    /// The request is refused if this is not the version of the order.
    #[schema(nullable = false, minimum = 0)]
    expected_version: Option<i32>,
}

/// Units of an item. Names it by one of `order_item_id`, `product_id` and `sku`.
#[derive(Clone, Debug, ToSchema)]
pub struct NewDocumentItem {
    /// Id of the item.
    #[schema(nullable = false, minimum = 1)]
    pub order_item_id: Option<i64>,
    /// Id of its product.
    #[schema(nullable = false, minimum = 1)]
    pub product_id: Option<i64>,
    /// SKU of its product.
    #[schema(nullable = false, max_length = 64)]
    pub sku: Option<String>,
    /// Units.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    pub quantity: i32,
    /// How many of them go back into stock; all or none as the document says, unless it is given. Not for fulfilments, as the next.
    #[schema(nullable = false, minimum = 0)]
    pub restock: Option<i32>,
    /// The refund; the price of the units unless it or that of the document is given.
    #[schema(value_type = Option<String>, nullable = false)]
    pub refund_amount: Option<Money>,
}

/// How a parcel is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tracking {
    /// Carrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 100)]
    carrier: Option<String>,
    /// Number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 100)]
    number: Option<String>,
    /// Address of a page that shows where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 500)]
    url: Option<String>,
}

/// A document that a client wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub kind: Kind,
    /// `None` for all units that are left.
    pub items: Option<Vec<NewDocumentItem>>,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub tracking: Option<Tracking>,
    /// Whether units go back into stock, where an item says nothing else.
    pub restock: bool,
    /// The refund of the whole document.
    pub refund_amount: Option<Money>,
    pub to_store_id: Option<i64>,
    pub expected_version: Option<i32>,
}

impl Wanted {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            items: None,
            reason: None,
            note: None,
            tracking: None,
            restock: true,
            refund_amount: None,
            to_store_id: None,
            expected_version: None,
        }
    }
}

impl NewCancellation {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Wanted> {
        let items = items(fields);
        let reason = fields.required("reason", text(LONGEST_REASON));
        let restock = fields.optional("restock", boolean);
        let refund_amount = refund_amount(fields, items.as_deref());
        let expected_version = fields.optional("expected_version", integer);
        let read = Self {
            items,
            reason: reason?,
            restock: restock.unwrap_or(true),
            refund_amount,
            expected_version,
        };
        Some(read.into())
    }
}

impl NewFulfillment {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Wanted {
        let items = items(fields);
        let has_more = |item: &NewDocumentItem| item.restock.is_some() || item.refund_amount.is_some();
        if items.iter().flatten().any(has_more) {
            fields.reject("items", "Fulfilments have no restock and no refund_amount.");
        }
        let read = Self {
            items,
            tracking: fields
                .nullable_object("tracking", |fields| Some(Tracking::read(fields)))
                .value()
                .cloned(),
            note: fields.optional("note", text(LONGEST_NOTE)),
            expected_version: fields.optional("expected_version", integer),
        };
        read.into()
    }
}

impl NewReturn {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Wanted> {
        let items = items(fields);
        let reason = fields.required("reason", text(LONGEST_REASON));
        let restock = fields.optional("restock", boolean);
        let refund_amount = refund_amount(fields, items.as_deref());
        let to_store_id = fields.optional("to_store_id", positive);
        let expected_version = fields.optional("expected_version", integer);
        let read = Self {
            items,
            reason: reason?,
            restock: restock.unwrap_or(true),
            refund_amount,
            to_store_id,
            expected_version,
        };
        Some(read.into())
    }
}

/// The refund of the whole document, if its items have none.
fn refund_amount(fields: &mut Fields<'_>, items: Option<&[NewDocumentItem]>) -> Option<Money> {
    let refund = fields.optional("refund_amount", amount);
    let is_in_items = items
        .unwrap_or_default()
        .iter()
        .any(|item| item.refund_amount.is_some());
    if refund.is_some() && is_in_items {
        fields.reject("refund_amount", "Send it here or in the items.");
    }
    refund
}

fn items(fields: &mut Fields<'_>) -> Option<Vec<NewDocumentItem>> {
    let items = fields.nullable_list("items", MOST_ITEMS, NewDocumentItem::read);
    items.into_value()
}

impl NewDocumentItem {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let order_item_id = fields.optional("order_item_id", positive);
        let product_id = fields.optional("product_id", positive);
        let sku = fields.optional("sku", code);
        let names = [order_item_id.is_some(), product_id.is_some(), sku.is_some()];
        if fields.is_valid() && names.into_iter().filter(|is_given| *is_given).count() != 1 {
            fields.reject("order_item_id", "Send one of order_item_id, product_id and sku.");
        }
        let quantity = fields.required("quantity", units);
        let restock = fields.optional("restock", integer);
        if restock > quantity {
            fields.reject("restock", "Ensure this value is not greater than quantity.");
        }
        let refund_amount = fields.optional("refund_amount", amount);
        Some(Self {
            order_item_id,
            product_id,
            sku,
            quantity: quantity?,
            restock,
            refund_amount,
        })
    }
}

impl Tracking {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            carrier: fields.optional("carrier", line(100)),
            number: fields.optional("number", line(100)),
            url: fields.optional("url", line(500)),
        }
    }
}

impl From<NewCancellation> for Wanted {
    fn from(new: NewCancellation) -> Self {
        Self {
            items: new.items,
            reason: Some(new.reason),
            restock: new.restock,
            refund_amount: new.refund_amount,
            expected_version: new.expected_version,
            ..Self::new(Kind::Cancellation)
        }
    }
}

impl From<NewFulfillment> for Wanted {
    fn from(new: NewFulfillment) -> Self {
        Self {
            items: new.items,
            tracking: new.tracking,
            note: new.note,
            expected_version: new.expected_version,
            ..Self::new(Kind::Fulfillment)
        }
    }
}

impl From<NewReturn> for Wanted {
    fn from(new: NewReturn) -> Self {
        Self {
            items: new.items,
            reason: Some(new.reason),
            restock: new.restock,
            refund_amount: new.refund_amount,
            to_store_id: new.to_store_id,
            expected_version: new.expected_version,
            ..Self::new(Kind::Return)
        }
    }
}
