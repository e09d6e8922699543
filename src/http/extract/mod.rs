//! What handlers read from the URL of a request.

mod query;
mod record_id;

pub use query::{PARAMETER_LIMIT, Params, check_query, invalid_page};
pub use record_id::RecordId;
