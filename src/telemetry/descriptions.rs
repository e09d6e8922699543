//! The descriptions of all metrics. `docs/OBSERVABILITY.md` has the labels.

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};

/// Describes all metrics. Gauges of HTTP are visible before the first request.
pub(super) fn describe() {
    describe_gauge!("afforo_build_info", "Always 1; the label `version` is what runs");
    describe_http();
    describe_orders();
    describe_confirmations();
    describe_database();
    describe_process();
    redis_rate_limit::describe_metrics();
    apalis_redis_queue::describe_metrics();
    gauge!("afforo_http_connections").set(0.0);
    gauge!("afforo_http_requests_in_flight").set(0.0);
}

fn describe_http() {
    describe_counter!("afforo_http_requests_total", "Requests by response status");
    describe_histogram!(
        "afforo_http_request_duration_seconds",
        "Time from the head of the request to the head of the response"
    );
    describe_gauge!("afforo_http_requests_in_flight", "Requests in progress");
    describe_gauge!("afforo_http_connections", "Open client connections");
    describe_counter!(
        "afforo_http_shed_total",
        "Requests and connections refused because of overload, by the limit they exceeded"
    );
    describe_counter!(
        "afforo_access_refusals_total",
        "API requests refused because of their key"
    );
    describe_counter!(
        "afforo_idempotency_total",
        "Requests with an Idempotency-Key that was used before"
    );
}

fn describe_orders() {
    describe_counter!("afforo_orders_total", "Orders by outcome");
    describe_counter!(
        "afforo_stock_documents_total",
        "Stock documents by kind and outcome"
    );
    describe_histogram!("afforo_order_batch_size", "Orders per transaction");
    describe_histogram!(
        "afforo_order_lock_seconds",
        "Time that a transaction takes to lock and read its stock rows"
    );
    describe_gauge!("afforo_orders_waiting", "Undecided orders in a lane");
}

fn describe_confirmations() {
    describe_gauge!(
        "afforo_outbox_rows",
        "Outbox rows with pending confirmations; counting stops at 100000"
    );
    describe_gauge!(
        "afforo_outbox_oldest_seconds",
        "Age of the oldest pending outbox row"
    );
    describe_gauge!(
        "afforo_deliveries_waiting",
        "Pending deliveries; counting stops at 100000"
    );
    describe_gauge!("afforo_queue_jobs", "Jobs in Redis by queue and state");
    describe_gauge!("afforo_dead_letters", "Dead letters by kind");
    describe_counter!(
        "afforo_deliveries_total",
        "Delivery attempts by channel and outcome"
    );
}

fn describe_database() {
    describe_gauge!("afforo_db_pool_connections", "PostgreSQL connections by state");
    describe_gauge!("afforo_db_pool_max_connections", "Maximum size of the pool");
    describe_histogram!("afforo_db_acquire_seconds", "Wait for a connection");
    describe_gauge!(
        "afforo_replica_lag_seconds",
        "How old the data of a replica is; NaN if that is not known"
    );
    describe_gauge!("afforo_replica_in_use", "1 if a replica serves reads");
    describe_counter!(
        "afforo_routed_reads_total",
        "Reads by the database that serves them, and why the primary does"
    );
    describe_counter!(
        "afforo_replica_fallbacks_total",
        "Reads that failed on a replica and were repeated on the primary"
    );
    describe_gauge!("afforo_database_host", "1 for the role of a database host");
    describe_gauge!(
        "afforo_database_host_in_use",
        "1 for the host that the pools connect to"
    );
    describe_counter!(
        "afforo_database_failovers_total",
        "Changes to another database host"
    );
}

fn describe_process() {
    describe_gauge!("process_cpu_seconds_total", "User and system CPU time in seconds");
    describe_gauge!("process_resident_memory_bytes", "Resident memory in bytes");
    describe_gauge!("process_virtual_memory_bytes", "Virtual memory in bytes");
    describe_gauge!(
        "process_virtual_memory_max_bytes",
        "Limit of the virtual memory in bytes"
    );
    describe_gauge!("process_start_time_seconds", "Start time in Unix seconds");
    describe_gauge!("process_open_fds", "Open file descriptors");
    describe_gauge!("process_max_fds", "Maximum number of open file descriptors");
    describe_gauge!("process_threads", "Threads of the process");
    describe_gauge!("afforo_runtime_workers", "Worker threads of the Tokio runtime");
    describe_gauge!("afforo_runtime_tasks", "Live tasks");
    describe_gauge!(
        "afforo_runtime_queue_depth",
        "Tasks in the global queue of the runtime"
    );
    describe_gauge!(
        "afforo_runtime_busy_seconds_total",
        "Time that worker threads spent running tasks"
    );
}
