//! The status of a reservation.

use serde::Serialize;
use utoipa::ToSchema;

/// The status of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum ReservationStatus {
    /// Its units are reserved.
    Active,
    /// Orders took from it, and the rest was released.
    Consumed,
    /// All its units were released, by the client or because the store lost them.
    Released,
    /// It has expired.
    Expired,
}

impl ReservationStatus {
    /// All, by their names.
    pub const NAMES: [&'static str; 4] = ["ACTIVE", "CONSUMED", "RELEASED", "EXPIRED"];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Consumed => "CONSUMED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
        }
    }
}
