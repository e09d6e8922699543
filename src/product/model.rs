//! Products: what clients send, and what they receive.

use std::collections::HashSet;

use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type},
};

use super::codes::{Barcode, MOST_BARCODES, NewCodes};
use crate::{
    category::CategoryName,
    http::{Fields, Listed, Nullable, Reference, boolean, code, price, reference, text, text_or_blank},
    money::Money,
    timestamp::Timestamp,
};

/// A product.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Product {
    /// Id.
    pub id: i64,
    /// Title. Need not be unique.
    #[schema(max_length = 200)]
    pub title: String,
    /// Description; may be blank.
    pub description: String,
    /// Unit price.
    pub price: Money,
    /// Category.
    pub category: CategoryName,
    /// Whether the product can be found and ordered.
    pub is_active: bool,
    /// Code of the product. No other product has it.
    #[schema(required = true, max_length = 64)]
    pub sku: Option<String>,
    /// The unit that quantities count, such as `pc` or `g`; may be blank.
    #[schema(max_length = 16)]
    pub unit: String,
    /// Barcodes. A list of products leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub barcodes: Option<Vec<Barcode>>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl Listed for Product {
    type Key = (String, i64);

    const LIST: &'static str = "products";
    const START: Self::Key = (String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.title.clone(), self.id)
    }
}

/// A product as part of stock and orders.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductSummary {
    /// Id.
    pub id: i64,
    /// Title.
    pub title: String,
    /// Current unit price.
    pub price: Money,
}

/// The editable fields of a product.
#[derive(Debug, ToSchema)]
pub struct ProductFields {
    /// Title. Need not be unique.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 200)]
    pub title: Option<String>,
    /// Description; may be blank.
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// Unit price.
    #[schema(required = true, nullable = false, schema_with = price_as_sent)]
    pub price: Option<Money>,
    /// Id of a category.
    #[schema(required = true, nullable = false, value_type = i64)]
    pub category_id: Option<Reference>,
    /// Whether the product can be found and ordered.
    #[schema(nullable = false, default = true)]
    pub is_active: Option<bool>,
    /// Code of the product, which no other product may have; null for none.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub sku: Nullable<String>,
    /// The unit that quantities count.
    #[schema(nullable = false, max_length = 16)]
    pub unit: Option<String>,
    /// All barcodes of the product.
    #[schema(nullable = false, max_items = 100)]
    pub barcodes: Option<Vec<Barcode>>,
}

impl ProductFields {
    /// Reads the fields. Absent or invalid ones are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let read = Self {
            title: fields.required("title", text(200)),
            description: fields.optional("description", text_or_blank(usize::MAX)),
            price: fields.required("price", price),
            category_id: fields.required("category_id", reference),
            is_active: fields.optional("is_active", boolean),
            sku: fields.nullable("sku", code),
            unit: fields.optional("unit", text_or_blank(16)),
            barcodes: fields.optional_list("barcodes", MOST_BARCODES, Barcode::read),
        };
        if repeats(read.all_codes()) {
            fields.reject("barcodes", "Each code may appear once.");
        }
        read
    }

    /// The SKU and the barcodes.
    pub(super) fn all_codes(&self) -> impl Iterator<Item = &str> {
        let barcodes = self
            .barcodes
            .iter()
            .flatten()
            .map(|barcode| barcode.code.as_str());
        self.sku.as_deref().value().copied().into_iter().chain(barcodes)
    }

    /// The new codes of a product with these fields.
    pub(super) fn codes(&self, product_id: i64) -> NewCodes<'_> {
        NewCodes {
            product_id,
            sku: self.sku.as_deref(),
            barcodes: self.barcodes.as_deref(),
        }
    }

    /// The required fields that are absent.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let required = [
            ("title", self.title.is_none()),
            ("price", self.price.is_none()),
            ("category_id", self.category_id.is_none()),
        ];
        let missing = required.into_iter().filter(|(_, is_missing)| *is_missing);
        missing.map(|(name, _)| name).collect()
    }

    /// Whether a product with the same SKU has other values.
    pub(super) fn changes(&self, product: &Product) -> bool {
        fn differs<T: PartialEq>(new: Option<&T>, current: &T) -> bool {
            new.is_some_and(|new| new != current)
        }
        let barcodes = self.barcodes.as_ref().map(|barcodes| {
            let mut barcodes = barcodes.clone();
            barcodes.sort_unstable_by(|a, b| a.code.cmp(&b.code));
            barcodes
        });
        differs(self.title.as_ref(), &product.title)
            || differs(self.description.as_ref(), &product.description)
            || differs(self.price.as_ref(), &product.price)
            || differs(self.category().as_ref(), &product.category.id)
            || differs(self.is_active.as_ref(), &product.is_active)
            || differs(self.unit.as_ref(), &product.unit)
            || barcodes.is_some() && barcodes != product.barcodes
    }

    pub(super) fn category(&self) -> Option<i64> {
        self.category_id.as_ref().map(|reference| reference.id)
    }
}

/// Whether a code appears twice.
pub(super) fn repeats<'a>(codes: impl Iterator<Item = &'a str>) -> bool {
    let mut known = HashSet::new();
    codes.into_iter().any(|code| !known.insert(code))
}

/// Answers have a price as a text with two decimals; requests need not.
fn price_as_sent() -> Schema {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .examples([serde_json::json!("10.00")]);
    let number = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0.01))
        .maximum(Some(99_999_999.99));
    AnyOfBuilder::new()
        .item(text)
        .item(number)
        .description(Some(
            "At least 0.01, with at most 8 digits before the point and 2 after it. A text is exact, a number may not be.",
        ))
        .into()
}
