//! The pool for the placement of orders.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::{PgPool, postgres::PgConnectOptions};

use super::pool;

/// Settings of placement. A plan made while the order tables are empty would keep scanning them, so plans are generic and use
/// the indexes. A waiting lane delays many orders, so a blocked order is set aside after two seconds.
const SETTINGS: [(&str, &str); 3] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("lock_timeout", "2s"),
];

/// Begins a transaction with these settings, in one round trip.
const BEGIN_WITH_SETTINGS: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; \
                                   SET LOCAL enable_seqscan = off; SET LOCAL lock_timeout = '2s'";

/// The pool, and how its transactions begin.
#[derive(Clone, Debug)]
pub struct PlacementPool {
    /// The connections.
    pub pool: PgPool,
    /// Whether a pooler ignores startup options, so that transactions must begin with the settings.
    ignores_options: Arc<AtomicBool>,
}

impl PlacementPool {
    pub(super) fn new(options: PgConnectOptions, size: u32) -> Self {
        let ignores_options = Arc::new(AtomicBool::new(false));
        let noted = ignores_options.clone();
        let pool = pool(size).after_connect(move |connection, _| {
            let noted = noted.clone();
            Box::pin(async move {
                if !super::accept(connection).await? {
                    noted.store(true, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self {
            pool: pool.connect_lazy_with(options.options(SETTINGS)),
            ignores_options,
        }
    }

    /// Has new connections lead to another host.
    pub(super) fn set_connect_options(&self, options: PgConnectOptions) {
        self.pool.set_connect_options(options.options(SETTINGS));
    }

    /// The statement that begins a transaction.
    pub fn begin(&self) -> &'static str {
        if self.ignores_options.load(Ordering::Relaxed) {
            BEGIN_WITH_SETTINGS
        } else {
            "BEGIN"
        }
    }
}
