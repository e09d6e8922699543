//! 409 for a request that the state of a record forbids.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Money;

/// Why the state of a record forbids a request, with the facts that the client needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateConflict {
    /// The reason as a sentence.
    #[schema(value_type = String)]
    pub detail: Cow<'static, str>,
    /// The reason.
    pub code: ConflictCode,
    /// The order that causes it, or that took from the reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub order_id: Option<i64>,
    /// The status of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<&'static str>,
    /// What its state permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub allowed: Option<Vec<&'static str>>,
    /// The version of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub version: Option<i32>,
    /// What is left of the named items.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub items: Option<Vec<ItemLeft>>,
    /// The store that the caller would have to be granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub store_id: Option<i64>,
    /// The amount that is left to refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refundable: Option<Money>,
}

/// What is left of an item of an order, a reservation or a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemLeft {
    /// Id of the item of an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub order_item_id: Option<i64>,
    /// Id of the product, of an item without an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub product_id: Option<i64>,
    /// Units.
    pub left: i32,
}

impl ItemLeft {
    /// What is left of an item of an order.
    pub fn of_item(id: i64, left: i32) -> Self {
        Self {
            order_item_id: Some(id),
            product_id: None,
            left,
        }
    }

    /// What is left of a product in a transfer.
    pub fn of_product(id: i64, left: i32) -> Self {
        Self {
            order_item_id: None,
            product_id: Some(id),
            left,
        }
    }
}

impl StateConflict {
    /// A conflict without facts.
    pub fn new(code: ConflictCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
            code,
            order_id: None,
            status: None,
            allowed: None,
            version: None,
            items: None,
            store_id: None,
            refundable: None,
        }
    }

    /// The caller is not granted this store, only the other one of the record.
    pub fn store_required(store_id: i64) -> Self {
        Self {
            store_id: Some(store_id),
            ..Self::new(
                ConflictCode::StoreRequired,
                format!("This needs access to store {store_id}."),
            )
        }
    }

    /// The version of a record is not the expected one.
    pub fn stale_version(record: &str, version: i32) -> Self {
        Self {
            version: Some(version),
            ..Self::new(
                ConflictCode::StaleVersion,
                format!("The version of the {record} is {version}, not the expected one."),
            )
        }
    }

    /// Servers of an earlier release may be running.
    pub fn upgrade_in_progress() -> Self {
        Self::new(
            ConflictCode::UpgradeInProgress,
            "Servers of an earlier release may be running. Confirm with `afforo migrate --complete` that none is.",
        )
    }
}

impl ConflictCode {
    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::ReservationNotFound => StatusCode::NOT_FOUND,
            Self::StoreRequired => StatusCode::FORBIDDEN,
            _ => StatusCode::CONFLICT,
        }
    }
}

/// The reason as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictCode {
    /// Another order of the store has the reference.
    DuplicateReference,
    /// The record has a value that cannot change, or a status that does not permit the request.
    InvalidTransition,
    /// The version is not the expected one.
    StaleVersion,
    /// Fewer units are left.
    ExceedsQuantity,
    /// A smaller amount is left to refund.
    ExceedsTotal,
    /// The caller is not granted the store that acts.
    StoreRequired,
    /// Fewer units are in transit.
    OverReceipt,
    /// Other records refer to this one.
    InUse,
    /// Servers of an earlier release may be running, which do not know this.
    UpgradeInProgress,
    /// The reservation is consumed, released or expired.
    ReservationEnded,
    /// There is no such reservation, or none that the caller may see.
    ReservationNotFound,
}
