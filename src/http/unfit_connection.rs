//! Marks answers that failed because their connection to the database was unfit: another connection may do.

use axum::response::Response;

use crate::db;

/// The mark.
#[derive(Clone, Copy, Debug)]
struct UnfitConnection;

/// Has connections replaced if `error` shows that one is unfit, and marks the answer to the request.
pub fn note_error(error: &sqlx::Error, response: &mut Response) {
    db::note(error);
    if db::is_unfit(error) {
        mark(response);
    }
}

/// Marks an answer that a replica of the database failed to give.
pub(super) fn mark(response: &mut Response) {
    response.extensions_mut().insert(UnfitConnection);
}

/// Whether an answer is marked.
pub(super) fn is_unfit(response: &Response) -> bool {
    response.extensions().get::<UnfitConnection>().is_some()
}
