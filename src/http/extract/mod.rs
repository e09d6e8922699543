//! What handlers read from the URL of a request, and the database that they read from.

mod query;
mod reads;
mod record_id;

pub use query::{PARAMETER_LIMIT, Params, check_query, invalid_page};
pub use reads::Reads;
pub use record_id::RecordId;
