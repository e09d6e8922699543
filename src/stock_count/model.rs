//! Stock counts: what clients receive.

use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::scope::Scope;
use crate::{
    http::{ApiError, ConflictCode, Listed, StateConflict},
    money::Money,
    store::StoreSummary,
    timestamp::Timestamp,
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("StockCount");

/// The status of a stock count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sqlx(type_name = "text", rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = StockCountStatus)]
pub enum Status {
    /// People count. Lines may be applied already.
    Open,
    /// All lines are applied or superseded.
    Applied,
    /// It was cancelled. Lines that were applied before stay applied.
    Cancelled,
}

impl Status {
    /// The names of all statuses.
    pub const NAMES: [&'static str; 3] = ["OPEN", "APPLIED", "CANCELLED"];

    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Applied => "APPLIED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Refuses what only an open stock count permits.
    pub fn require_open(self) -> Result<(), ApiError> {
        if self == Self::Open {
            return Ok(());
        }
        Err(StateConflict {
            status: Some(self.as_str()),
            allowed: Some(Vec::new()),
            ..StateConflict::new(
                ConflictCode::InvalidTransition,
                format!("The stock count is {}.", self.as_str()),
            )
        }
        .into())
    }
}

/// A stock count.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StockCount {
    /// Id.
    pub id: i64,
    /// Store.
    pub store: StoreSummary,
    /// Status.
    pub status: Status,
    /// What is counted.
    pub scope: Scope,
    /// Whether the expected units are hidden while it is open.
    pub blind: bool,
    /// The client's reference.
    #[schema(required = true)]
    pub reference: Option<String>,
    /// Rises with every change.
    pub version: i32,
    /// When it was applied as a whole.
    #[schema(required = true)]
    pub applied_at: Option<Timestamp>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl StockCount {
    /// Refuses another version.
    pub fn expect_version(&self, expected: Option<i32>) -> Result<(), ApiError> {
        if expected.is_some_and(|expected| expected != self.version) {
            return Err(StateConflict::stale_version("stock count", self.version).into());
        }
        Ok(())
    }
}

impl Listed for StockCount {
    /// The id, downwards.
    type Key = i64;

    const LIST: &'static str = "stock_counts";
    const START: i64 = i64::MAX;

    fn key(&self) -> i64 {
        self.id
    }
}

/// The lines of a stock count after some of them were entered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnteredStockCountLines)]
pub struct Entered {
    /// The lines that have changed, by id of the product.
    pub lines: Vec<EnteredLine>,
}

/// A line after it was entered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnteredStockCountLine)]
pub struct EnteredLine {
    /// Id of the product.
    pub product_id: i64,
    /// Title of the product.
    pub product_title: String,
    /// Units that were counted by now.
    pub counted: i64,
    /// When they were counted.
    pub counted_at: Timestamp,
    /// Number of entries.
    pub entries: i32,
}

/// Numbers of lines by status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub counted: i64,
    pub applied: i64,
    pub superseded: i64,
    pub failed: i64,
}

/// What was applied of a stock count.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = StockCountApplication)]
pub struct Application {
    /// Status of the stock count.
    pub status: Status,
    /// Version of the stock count.
    pub version: i32,
    /// Number of lines that are applied.
    pub applied: i64,
    /// Number of lines that cannot be applied.
    pub failed: i64,
    /// Number of lines for which the quantity was set after they were counted.
    pub superseded: i64,
    /// Whether lines are left: they have failed, or the request has reached its limit of 10,000 lines.
    pub partial: bool,
    /// What this transaction has done.
    #[serde(skip)]
    pub done: Totals,
}

/// The status of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sqlx(type_name = "text", rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = StockCountLineStatus)]
pub enum LineStatus {
    /// It was not counted.
    Uncounted,
    /// It was counted, and is not applied yet.
    Counted,
    /// The difference was applied. This is final.
    Applied,
    /// The quantity was set after it was counted.
    Superseded,
    /// It cannot be applied.
    Failed,
}

impl LineStatus {
    /// The names of all statuses.
    pub const NAMES: [&'static str; 5] = ["UNCOUNTED", "COUNTED", "APPLIED", "SUPERSEDED", "FAILED"];
}

/// A line of a stock count.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockCountLine {
    /// Id of the product.
    pub product_id: i64,
    /// Title of the product.
    pub product_title: String,
    /// SKU of the product.
    #[schema(required = true)]
    pub sku: Option<String>,
    /// Status.
    pub status: LineStatus,
    /// Units that were counted.
    #[schema(required = true)]
    pub counted: Option<i64>,
    /// When they were counted.
    #[schema(required = true)]
    pub counted_at: Option<Timestamp>,
    /// Number of entries.
    pub entries: i32,
    /// Units on hand by the ledger when they were counted; now, if they were not counted. They include units that are sold and not handed over.
    #[schema(required = true)]
    pub expected: Option<i64>,
    /// `counted - expected`
    #[schema(required = true)]
    pub variance: Option<i64>,
    /// Variance at the price of the product, such as `-45.00`.
    #[schema(required = true, value_type = Option<String>)]
    pub variance_value: Option<Money>,
    /// Why it failed: `counted_below_committed`, `exceeds_quantity` or `history_detached`.
    #[schema(required = true)]
    pub code: Option<String>,
    /// Units that were sold beyond those that were counted.
    #[schema(required = true)]
    pub missing: Option<i64>,
    /// Orders whose units are missing, the newest first. At most 20.
    #[schema(required = true)]
    pub order_ids: Option<Vec<i64>>,
}

impl Listed for StockCountLine {
    /// Id of the product.
    type Key = i64;

    const LIST: &'static str = "stock_count_lines";
    const START: i64 = 0;

    fn key(&self) -> i64 {
        self.product_id
    }
}

/// What somebody counted of a product.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockCountEntry {
    /// Id.
    pub id: i64,
    /// Id of the product.
    pub product_id: i64,
    /// Units.
    pub counted: i32,
    /// When they were counted.
    pub counted_at: Timestamp,
    /// Whether they were added to what was counted before.
    pub add: bool,
    /// Who has sent it, such as `key:12`; null while the API is open.
    #[schema(required = true)]
    pub actor: Option<String>,
    /// When it was sent.
    pub created_at: Timestamp,
}

impl Listed for StockCountEntry {
    /// Id of the product and of the entry.
    type Key = (i64, i64);

    const LIST: &'static str = "stock_count_entries";
    const START: (i64, i64) = (0, 0);

    fn key(&self) -> (i64, i64) {
        (self.product_id, self.id)
    }
}
