//! `afforo worker`

use std::sync::Arc;

use clap::Args;
use tokio::sync::Notify;

use super::{Failure, Settings, metrics, patience::Patience, secret_key, serve};
use crate::{
    config::{DeliveryError, DeliverySettings, WorkerSettings},
    db::Database,
    shutdown::Signals,
    worker::{self, Outside},
};

/// What `afforo worker` is told.
#[derive(Args, Debug)]
pub(super) struct Worker {
    #[command(flatten)]
    worker: WorkerSettings,
    #[command(flatten)]
    patience: Patience,
}

impl Worker {
    pub async fn run(self, mut settings: Settings, signals: Signals) -> Result<(), Failure> {
        settings.http.require_secret_key()?;
        let url = settings.database.url()?;
        self.patience.wait(url).await?;
        secret_key::check(&settings).await?;
        let database = Database::new(url, settings.database.database_pool_size, 1)?;
        let outside = outside(&self.worker.delivery)?;
        let shutdown = signals.graceful();
        metrics::open(&settings, &database).await?;
        // Orders are placed in other processes: nobody here tells of one.
        let nobody = Arc::new(Notify::new());
        worker::run(
            database.pool.clone(),
            &settings.redis,
            self.worker.concurrency,
            outside,
            nobody,
            shutdown,
        )
        .await?;
        serve::close(&database).await;
        Ok(())
    }
}

/// Who is told of confirmed orders, by the settings.
pub(super) fn outside(settings: &DeliverySettings) -> Result<Outside, DeliveryError> {
    Ok(Outside::new(settings.email()?, settings.webhook()?))
}
