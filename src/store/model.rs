//! A store as clients see it, and what they send to change one.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{Fields, Listed, boolean, text},
    timestamp::Timestamp,
};

/// A store.
#[derive(Debug, Serialize, ToSchema)]
pub struct Store {
    /// Its id.
    pub id: i64,
    /// Its name, which other stores may have too.
    #[schema(max_length = 200)]
    pub name: String,
    /// Where it is.
    #[schema(max_length = 300)]
    pub location: String,
    /// Whether it takes orders.
    pub is_active: bool,
    /// How many products it keeps stock of.
    pub inventory_count: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Listed for Store {
    type Key = (String, i64);

    const LIST: &'static str = "stores";
    const START: Self::Key = (String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.id)
    }
}

/// A store as a part of its stock and its orders.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StoreSummary {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub location: String,
}

/// What a request sent of a store.
#[derive(Debug, ToSchema)]
pub struct StoreFields {
    /// Need not be unique.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Where it is.
    #[schema(required = true, nullable = false, min_length = 1, max_length = 300)]
    pub location: Option<String>,
    /// Whether it takes orders; a new one does unless told otherwise.
    #[schema(nullable = false, default = true)]
    pub is_active: Option<bool>,
}

impl StoreFields {
    /// Reads the fields; those that are absent or wrong are `None`.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name", text(200)),
            location: fields.required("location", text(300)),
            is_active: fields.optional("is_active", boolean),
        }
    }
}
