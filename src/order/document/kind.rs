//! The kinds of documents.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{ledger::Movement, order::progress::Progress};

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Kind {
    /// Units are not sold after all.
    Cancellation,
    /// Units are handed over.
    Fulfillment,
    /// Units came back.
    Return,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Cancellation, Self::Fulfillment, Self::Return];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancellation => "CANCELLATION",
            Self::Fulfillment => "FULFILLMENT",
            Self::Return => "RETURN",
        }
    }

    /// The kind of its movements.
    pub fn movement(self) -> Movement {
        match self {
            Self::Cancellation => Movement::Cancel,
            Self::Fulfillment => Movement::Fulfill,
            Self::Return => Movement::Return,
        }
    }

    /// The action in the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Self::Cancellation => "order.cancelled",
            Self::Fulfillment => "order.fulfilled",
            Self::Return => "order.returned",
        }
    }

    /// The units of an item that a document of this kind may name.
    pub fn left(self, is_tracked: bool, quantity: i32, progress: Progress) -> i32 {
        let Progress {
            cancelled,
            fulfilled,
            returned,
            ..
        } = progress;
        match self {
            Self::Fulfillment if !is_tracked => 0,
            Self::Fulfillment => quantity - cancelled - fulfilled,
            Self::Cancellation if is_tracked => quantity - cancelled - fulfilled,
            Self::Return if is_tracked => fulfilled - returned,
            Self::Cancellation | Self::Return => quantity - cancelled - returned,
        }
    }
}
