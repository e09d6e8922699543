//! The filters of the list of orders.

use super::{model::Status, progress::Fulfillment, search::Search};
use crate::{auth::Stores, http::Params, timestamp::Timestamp};

/// The filters of a request.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Filters that counters and indexes have. Newest first.
    Indexed {
        /// Only these stores.
        stores: Option<Vec<i64>>,
        /// Only orders with this status.
        status: Option<Status>,
    },
    /// Filters for which the orders are counted anew.
    Search {
        /// The filters other than the time.
        search: Search,
        /// Only orders from this time on.
        from: Option<Timestamp>,
        /// Only orders before this time.
        until: Option<Timestamp>,
    },
}

impl Filter {
    /// Reads the parameters of a request, within the stores that are granted.
    pub fn read(params: &mut Params, granted: &Stores) -> Self {
        let (from, until) = (params.time("created_from"), params.time("created_to"));
        let ordering = params.choice("ordering", &["newest", "oldest"]);
        let search = Search {
            stores: granted.intersect(params.id("store_id")),
            statuses: statuses(params),
            external_reference: params.text("external_reference"),
            customer: params.text("customer"),
            fulfillment: params.choice("fulfillment", &Fulfillment::NAMES),
            total_min: params.decimal("total_min"),
            total_max: params.decimal("total_max"),
            oldest_first: ordering == Some("oldest"),
        };
        if from.is_none() && search.is_scan() {
            params.reject(
                "created_from",
                "This parameter is required with total_min, total_max and fulfillment.",
            );
        }
        let is_indexed = from.is_none()
            && until.is_none()
            && !search.oldest_first
            && search.statuses.len() <= 1
            && search.external_reference.is_none()
            && search.customer.is_none();
        if is_indexed {
            return Self::Indexed {
                status: search.statuses.first().copied(),
                stores: search.stores,
            };
        }
        Self::Search { search, from, until }
    }
}

/// The statuses that are asked for, each once. Other values are ignored, as clients expect.
fn statuses(params: &Params) -> Vec<Status> {
    let asked: Vec<Status> = params.all("status").filter_map(Status::parse).collect();
    let all = Status::ALL.into_iter();
    all.filter(|status| asked.contains(status)).collect()
}
