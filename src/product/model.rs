//! A product as clients see it, and what they send to change one.

use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type},
};

use crate::{
    category::CategoryName,
    http::{Fields, Listed, Reference, boolean, price, reference, text, text_or_blank},
    money::Money,
    timestamp::Timestamp,
};

/// A product.
#[derive(Debug, Serialize, ToSchema)]
pub struct Product {
    /// Its id.
    pub id: i64,
    /// Its title, which other products may have too.
    #[schema(max_length = 200)]
    pub title: String,
    /// What there is to say of it; may be blank.
    pub description: String,
    /// What a piece costs.
    pub price: Money,
    /// What it is sorted into.
    pub category: CategoryName,
    /// Whether it can be found and ordered.
    pub is_active: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
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

/// A product as a part of stock and of orders.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductSummary {
    /// Its id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// What a piece costs now.
    pub price: Money,
}

/// What a request sent of a product.
#[derive(Debug, ToSchema)]
pub struct ProductFields {
    /// Need not be unique.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 200)]
    pub title: Option<String>,
    /// May be blank.
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// What a piece is to cost.
    #[schema(required = true, nullable = false, schema_with = price_as_sent)]
    pub price: Option<Money>,
    /// The id of a category.
    #[schema(required = true, nullable = false, value_type = i64)]
    pub category_id: Option<Reference>,
    /// Whether it can be found and ordered; a new one can unless told otherwise.
    #[schema(nullable = false, default = true)]
    pub is_active: Option<bool>,
}

impl ProductFields {
    /// Reads the fields; those that are absent or wrong are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            title: fields.required("title", text(200)),
            description: fields.optional("description", text_or_blank(usize::MAX)),
            price: fields.required("price", price),
            category_id: fields.required("category_id", reference),
            is_active: fields.optional("is_active", boolean),
        }
    }

    pub(super) fn category(&self) -> Option<i64> {
        self.category_id.as_ref().map(|reference| reference.id)
    }
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
