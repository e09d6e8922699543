//! `afforo worker`

use std::sync::Arc;

use clap::Args;
use tokio::sync::Notify;

use super::{Failure, Settings, metrics, secret_key, serve, wait_for::WaitFor};
use crate::{
    config::WorkerSettings,
    db::{self, Database},
    shutdown::Signals,
    worker::{self, Notifiers},
};

/// Arguments of `afforo worker`.
#[derive(Args, Debug)]
pub(super) struct Worker {
    #[command(flatten)]
    worker: WorkerSettings,
    #[command(flatten)]
    wait_for: WaitFor,
}

impl Worker {
    pub async fn run(self, mut settings: Settings, signals: Signals) -> Result<(), Failure> {
        settings.http.require_secret_key()?;
        let url = settings.database.url()?;
        self.wait_for.wait(url).await?;
        db::check_sessions(url).await?;
        secret_key::check(&settings).await?;
        let database = Database::new(url, settings.database.database_pool_size, 1)?;
        database.hosts.asked().await;
        let notifiers = Notifiers::from_settings(&self.worker.delivery)?;
        let shutdown = signals.graceful();
        metrics::open(&settings, &database).await?;
        // Orders are placed in other processes, so nothing wakes the relay here.
        let order_confirmed = Arc::new(Notify::new());
        worker::run(
            database.pool.clone(),
            &settings.redis,
            self.worker.concurrency,
            notifiers,
            order_confirmed,
            shutdown,
        )
        .await?;
        serve::close(&database).await;
        Ok(())
    }
}
