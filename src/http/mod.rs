//! The web kit: what every endpoint needs, and no domain.
//!
//! Requests are read with [`Body`], [`Params`], [`RecordId`] and [`ListRequest`]; answers are `Json`, a [`Listing`]
//! or a [`ApiError`]. [`endpoint`] gives a route the manners that all of them share.

mod body;
mod caller;
mod client;
mod command;
mod conditional;
mod cursor;
mod describe;
mod endpoint;
mod error;
mod fields;
mod gate;
mod idempotency;
mod intake;
mod link;
mod list;
mod natural;
mod number;
mod page;
mod params;
mod responses;
mod retry;
mod rules;
mod scan_limit;
mod share;
mod state;
mod static_file;
mod transfer;
mod value;
mod write_limit;

pub use body::Body;
pub use caller::{Caller, REQUEST_ID};
pub use client::{Client, Scheme};
pub use command::{CommandContext, retry_transaction};
pub use conditional::{IfMatch, Precondition, Tagged, Unconditional};
pub use describe::{
    Conflict, Invalid, InvalidOrder, InvalidParameter, InvalidPrefix, NotAcceptable, NotFound, TooLarge,
    UnsupportedMediaType, components,
};
pub use endpoint::endpoint;
pub(crate) use error::OUTCOME_UNKNOWN;
pub use error::{ApiError, Detail, ErrorDetail};
pub use fields::{FieldErrors, FieldSource, Fields, Presence};
pub use gate::ApiKeyAuth;
pub use idempotency::{IDEMPOTENT_REPLAYED, IdempotencyKey, IdempotencyStore, Keyed};
pub use intake::{Intake, IntakeLimits, Shed, Turn, Work};
pub use link::base_url;
pub use list::{ListParams, ListRequest, Listed, Listing, Slice, Step};
pub use natural::Natural;
pub use page::Page;
pub(crate) use params::PARAMETER_LIMIT;
pub use params::{Params, RecordId, check_query};
pub use responses::{Connection, Responses};
pub use retry::{note_error, retry_read};
pub use rules::{Reference, boolean, integer, natural, one_of, price, reference, text, text_or_blank};
pub use scan_limit::{ScanLimit, ScanPermit, ScansBusy};
pub use state::AppState;
pub use static_file::StaticFile;
pub use transfer::without_length;
pub use value::FormFields;
pub use write_limit::WriteLimit;

/// Says what is counted here.
pub fn describe_metrics() {
    gate::describe_metrics();
    intake::describe_metrics();
    idempotency::describe_metrics();
}
