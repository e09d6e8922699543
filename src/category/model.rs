//! Categories: what clients send, and what they receive.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{Fields, Listed, text},
    timestamp::Timestamp,
};

/// A category.
#[derive(Debug, Serialize, ToSchema)]
pub struct Category {
    /// Id.
    pub id: i64,
    /// Unique name.
    #[schema(max_length = 100)]
    pub name: String,
    /// Number of products, active or not.
    pub product_count: i64,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl Listed for Category {
    type Key = (String, i64);

    const LIST: &'static str = "categories";
    const START: Self::Key = (String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.id)
    }
}

/// A category as part of a product.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CategoryName {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
}

/// The editable fields of a category.
#[derive(Debug, ToSchema)]
pub struct CategoryFields {
    /// Unique name. Case-sensitive, trimmed.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 100)]
    pub name: Option<String>,
}

impl CategoryFields {
    /// Reads the fields. Absent or invalid ones are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name", text(100)),
        }
    }
}
