//! `/admin/system/`: version, PostgreSQL, Redis and settings of this server.

mod probe;
mod queries;

use std::sync::Arc;

use askama::Template;
use axum::{Router, extract::State, response::Response, routing::get};
use chrono::{DateTime, Utc};

use super::{
    error::ConsoleError,
    format,
    operator::Operator,
    page::{Frame, render},
    state::Console,
};
use crate::{
    auth::Scope,
    db::{HostStatus, PoolUsage, Role},
};
use probe::{Postgres, Redis};

const SECTION: &str = "/admin/system/";

pub fn router() -> Router<Console> {
    Router::new().route("/admin/system/", get(page))
}

#[derive(Template)]
#[template(path = "system.html")]
struct Page {
    frame: Frame,
    version: &'static str,
    build: &'static str,
    platform: String,
    started: DateTime<Utc>,
    debug: bool,
    /// `Err` has the reason why it is not connected.
    postgres: Result<Postgres, String>,
    redis: Result<Redis, String>,
    pools: [(&'static str, PoolUsage); 4],
    /// None for a single host.
    hosts: Vec<HostStatus>,
    /// Only for superusers.
    configuration: Option<Arc<[(String, String)]>>,
}

async fn page(operator: Operator, State(console): State<Console>) -> Result<Response, ConsoleError> {
    let database = &console.app.database;
    let (postgres, redis) = tokio::join!(probe::postgres(&database.probe), probe::redis(&console.queues));
    Ok(render(&Page {
        frame: Frame::new(&operator, SECTION, "System"),
        version: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) {
            "development"
        } else {
            "release"
        },
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        started: console.started,
        debug: console.debug,
        postgres,
        redis,
        pools: [
            ("General", PoolUsage::of(&database.pool)),
            ("Reads", database.reads.usage()),
            ("Order placement", PoolUsage::of(&database.placement.pool)),
            ("Probe", PoolUsage::of(&database.probe)),
        ],
        hosts: database.host_statuses(),
        configuration: operator.rules_system().then(|| console.configuration.clone()),
    }))
}

impl Operator {
    /// Whether the operator may see the settings of the server.
    fn rules_system(&self) -> bool {
        self.may(Scope::Admin) && self.caller.grant.stores.are_all()
    }
}

impl Page {
    /// The number of connected workers, if Redis answers.
    fn workers(&self) -> Option<i64> {
        self.redis.as_ref().ok().map(|redis| redis.workers)
    }
}
