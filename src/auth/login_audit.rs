//! Audit entries about failed and throttled logins: up to a limit, then a count of the omitted ones. Entries are never deleted,
//! so strangers must not fill the log.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until};

use super::ClientInfo;
use crate::audit::{self, Actor, AuditContext};

/// Maximum number of entries per hour for all servers; slightly more if several write at the same time.
const MOST_ENTRIES: i32 = 240;

/// Writes the entries. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct LoginAudit {
    db: PgPool,
    omitted: Arc<Mutex<Omitted>>,
}

#[derive(Debug, Default)]
struct Omitted {
    /// Entries are omitted until this time.
    until: Option<Instant>,
    entries: u64,
}

/// The content of an entry about a failed login.
#[derive(Serialize)]
struct Typed<'a> {
    username: &'a str,
}

/// The content of an entry about omitted entries.
#[derive(Serialize)]
struct Count {
    entries: u64,
}

impl LoginAudit {
    pub fn new(db: PgPool) -> Self {
        Self {
            db,
            omitted: Arc::default(),
        }
    }

    /// Records a failed or refused login, with account and username if the account exists.
    pub async fn record(
        &self,
        action: &'static str,
        account: Option<i64>,
        username: Option<&str>,
        client: &ClientInfo,
    ) -> sqlx::Result<()> {
        if self.is_omitted() {
            return Ok(());
        }
        if let Some(seconds) = self.seconds_until_free().await? {
            self.omit_for(Duration::from_secs(seconds));
            return Ok(());
        }
        let subject = account.map(|id| format!("account:{id}"));
        let audit_context = client.audit_context(Actor::Anyone);
        let typed = username.map(|username| Typed { username });
        audit::record(&self.db, &audit_context, action, subject, (None, typed.as_ref())).await
    }

    /// Records the number of omitted entries, if any.
    pub async fn write_count(&self) -> sqlx::Result<()> {
        let omitted = std::mem::take(&mut *self.lock());
        if omitted.entries == 0 {
            return Ok(());
        }
        let count = Count {
            entries: omitted.entries,
        };
        let change = (None, Some(&count));
        audit::record(&self.db, &AuditContext::system(), "login.omitted", None, change).await
    }

    /// Whether this hour is known to be full. Then the entry counts as omitted.
    fn is_omitted(&self) -> bool {
        let mut omitted = self.lock();
        let is_full = omitted.until.is_some_and(|until| Instant::now() < until);
        if is_full {
            omitted.entries += 1;
        }
        is_full
    }

    /// The remaining seconds of a full hour.
    async fn seconds_until_free(&self) -> sqlx::Result<Option<u64>> {
        let seconds = sqlx::query_scalar!(
            r#"select ceil(extract(epoch from date_trunc('hour', now()) + interval '1 hour' - now()))::bigint
               from (
                   (select id, at from audit_log where action = 'login.failed' order by id desc limit $1)
                   union all
                   (select id, at from audit_log where action = 'login.throttled' order by id desc limit $1)
                   order by id desc offset $1 - 1 limit 1
               ) entry
               where at >= date_trunc('hour', now())"#,
            i64::from(MOST_ENTRIES)
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(seconds
            .flatten()
            .map(|seconds| u64::try_from(seconds).unwrap_or(1).max(1)))
    }

    /// Omits entries for the rest of the hour, beginning with this one, then records their count.
    fn omit_for(&self, rest: Duration) {
        let until = Instant::now() + rest;
        let mut omitted = self.lock();
        omitted.entries += 1;
        if omitted.until.is_some_and(|known| Instant::now() < known) {
            return;
        }
        omitted.until = Some(until);
        drop(omitted);
        tracing::warn!("many logins fail: for the rest of this hour the audit log counts them only");
        let audit = self.clone();
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Err(error) = audit.write_count().await {
                tracing::warn!(%error, "the count of failed logins could not be written to the audit log");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Omitted> {
        self.omitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
