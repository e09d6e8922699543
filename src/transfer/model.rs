//! Transfers: what clients receive.

use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::{http::Listed, store::StoreSummary, timestamp::Timestamp};

/// The status of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sqlx(type_name = "text", rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = TransferStatus)]
pub enum Status {
    /// Nothing has left the source.
    Draft,
    /// All that was shipped is in transit.
    InTransit,
    /// A part of what was shipped has arrived or is settled.
    Partial,
    /// Nothing is in transit any more.
    Received,
    /// It was cancelled, before or after it was shipped.
    Cancelled,
}

impl Status {
    /// The names of all statuses.
    pub const NAMES: [&'static str; 5] = ["DRAFT", "IN_TRANSIT", "PARTIAL", "RECEIVED", "CANCELLED"];

    /// The name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::InTransit => "IN_TRANSIT",
            Self::Partial => "PARTIAL",
            Self::Received => "RECEIVED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// What it permits.
    pub fn allowed(self) -> &'static [&'static str] {
        match self {
            Self::Draft => &["change", "ship", "cancel"],
            Self::InTransit | Self::Partial => &["receive", "cancel"],
            Self::Received | Self::Cancelled => &[],
        }
    }

    /// Whether it permits an action.
    pub fn permits(self, action: &str) -> bool {
        self.allowed().contains(&action)
    }
}

/// A transfer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Transfer {
    /// Id.
    pub id: i64,
    /// Status.
    pub status: Status,
    /// The store that ships.
    pub from_store: StoreSummary,
    /// The store that receives.
    pub to_store: StoreSummary,
    /// The client's reference.
    #[schema(required = true)]
    pub reference: Option<String>,
    /// When it is expected to arrive.
    #[schema(required = true)]
    pub expected_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: i32,
    /// When it was shipped.
    #[schema(required = true)]
    pub shipped_at: Option<Timestamp>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Items, by id of the product.
    pub items: Vec<TransferItem>,
}

/// The units of a product in a transfer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TransferItem {
    /// Id of the product.
    pub product_id: i64,
    /// Title of the product.
    pub product_title: String,
    /// SKU of the product.
    #[schema(required = true)]
    pub sku: Option<String>,
    /// Units that are wanted.
    pub quantity: i32,
    /// Units that left the source.
    pub shipped: i32,
    /// Units that entered the stock of the destination.
    pub received: i32,
    /// Units that arrived damaged. They are in no stock.
    pub damaged: i32,
    /// Units that did not arrive.
    pub lost: i32,
    /// Units that went back to the source.
    pub returned: i32,
    /// `shipped - received - damaged - lost - returned`
    pub in_transit: i32,
}

/// A transfer, as a row of the list.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferRow {
    /// Id.
    pub id: i64,
    /// Status.
    pub status: Status,
    /// Id of the store that ships.
    pub from_store_id: i64,
    /// Its name.
    pub from_store_name: String,
    /// Id of the store that receives.
    pub to_store_id: i64,
    /// Its name.
    pub to_store_name: String,
    /// The client's reference.
    #[schema(required = true)]
    pub reference: Option<String>,
    /// When it is expected to arrive.
    #[schema(required = true)]
    pub expected_at: Option<Timestamp>,
    /// Units that are wanted, of all items.
    pub quantity: i64,
    /// Units in transit, of all items.
    pub in_transit: i64,
    /// Rises with every change.
    pub version: i32,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl Listed for TransferRow {
    /// The id, downwards.
    type Key = i64;

    const LIST: &'static str = "transfers";
    const START: i64 = i64::MAX;

    fn key(&self) -> i64 {
        self.id
    }
}
