//! The HTTP layer: what every endpoint needs. It knows no domain.
//!
//! Handlers read requests with [`Body`], [`Params`], [`RecordId`] and [`ListRequest`], and answer with [`Json`], a [`Listing`] or
//! an [`ApiError`]. [`api_route`] adds what all routes of the API share; [`around`] puts the middleware around all routes, in groups
//! whose [`RouteClass`] says what their requests need.

mod admission;
mod batch;
mod body;
mod caller;
mod client_share;
mod command;
mod compression;
mod conditional;
mod cursor;
mod document;
mod dry_run;
mod error;
mod extract;
mod field_errors;
mod fields;
mod idempotency;
mod json;
mod limits;
mod link;
mod list;
mod middleware;
mod number;
mod openapi;
mod page;
mod receive;
mod responses;
mod rules;
mod scan_limit;
mod shared_map;
mod state;
mod state_conflict;
mod static_file;
mod text_map;
mod unfit_connection;
mod value;

pub use admission::{AdmissionControl, AdmissionLimits, Overloaded, Permit, Work};
pub use batch::{BatchMode, MOST_ITEMS};
pub use body::Body;
pub use caller::{Caller, REQUEST_ID};
pub use command::{CommandContext, retry_unfit};
pub use conditional::{IfMatch, Precondition, PutConditions, Tagged, Unconditional};
pub use document::{Answered, Decided, Document, carry_out, refuse_deletion};
pub use dry_run::{DryRun, ExistingRecords};
pub(crate) use error::OUTCOME_UNKNOWN;
pub use error::{ApiError, Detail, ErrorDetail, Refused};
pub(crate) use extract::PARAMETER_LIMIT;
pub use extract::{Params, Reads, RecordId};
pub use field_errors::FieldErrors;
pub use fields::{FieldSource, Fields, Nullable, Presence};
pub use idempotency::{IDEMPOTENT_REPLAYED, IdempotencyKey, IdempotencyStore, Keyed};
pub use json::Json;
pub use limits::Limits;
pub use link::base_url;
pub use list::{
    COUNT_LIMIT, Counted, CursorPage, ListParams, ListRequest, Listed, Listing, PageQuery, Rows, cut,
    push_place,
};
pub use middleware::{
    AFFORO_POSITION, ApiKeyAuth, ApiServices, Client, RouteClass, Routes, WriteLimit, api_route, around,
    retry_read, route_reads,
};
pub use openapi::{
    Conflict, Invalid, InvalidOrder, InvalidParameter, InvalidPrefix, NotAcceptable, NotFound, TooLarge,
    UnsupportedMediaType, components,
};
pub use page::Page;
pub use responses::{Connection, Responses};
pub use rules::{
    Reference, amount, boolean, code, code_of_text, delta, ids, integer, line, one_of, positive, price,
    reference, text, text_or_blank, timestamp, units,
};
pub use scan_limit::{BUSY_SEARCH, ScanLimit, ScanPermit};
pub use state::AppState;
pub use state_conflict::{ConflictCode, ItemLeft, StateConflict};
pub use static_file::StaticFile;
pub use text_map::{TextMapLimits, text_map};
pub use unfit_connection::note_error;
pub use value::FormFields;
