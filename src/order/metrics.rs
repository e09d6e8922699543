//! Descriptions of the metrics of orders.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Describes the metrics of this module.
pub fn describe_metrics() {
    describe_counter!(
        "afforo_orders_total",
        "Orders that were decided: `confirmed`, `rejected` for want of stock, `repeated` under a key, `refused` for what they say, `failed`."
    );
    describe_histogram!(
        "afforo_order_batch_size",
        "Orders that went together into a transaction."
    );
    describe_histogram!(
        "afforo_order_lock_seconds",
        "How long a transaction took to lock and read all stock that it is about."
    );
    describe_gauge!("afforo_orders_waiting", "Orders that are in a lane, undecided.");
}
