//! `afforo serve`

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{Failure, Settings, metrics, worker::outside};
use crate::{
    database::{self, Database, Migrated},
    server,
    settings::{ListenSettings, WorkerSettings},
    shutdown,
    web::AppState,
    worker,
};

/// What `afforo serve` is told.
#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    listen: ListenSettings,
    /// Run the background worker in the same process
    #[arg(long)]
    with_worker: bool,
    /// Bring the schema of the database up to date first
    #[arg(long)]
    migrate: bool,
    #[command(flatten)]
    worker: WorkerSettings,
}

impl Serve {
    pub async fn run(self, mut settings: Settings) -> Result<(), Failure> {
        settings.http.require_secret_key()?;
        if self.migrate {
            migrate(&settings).await?;
        }
        let worker = self.with_worker.then_some(&self.worker);
        settings.database.url()?;
        let shutdown = shutdown::on_signal()?;
        let listener = bind(self.listen.address()).await?;
        serve(&settings, listener, worker, shutdown).await
    }
}

/// Migrates, and logs what there was to do.
pub(super) async fn migrate(settings: &Settings) -> Result<(), Failure> {
    match database::migrate(settings.database.url()?).await? {
        Migrated::Applied(migrations) => tracing::info!(migrations, "schema brought up to date"),
        Migrated::UpToDate => tracing::info!("schema is up to date"),
    }
    Ok(())
}

/// Takes the address; requests wait from now on.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; is another server running there?").into()
    })
}

/// Serves until `shutdown`, with a worker if it is given the settings of one.
pub(super) async fn serve(
    settings: &Settings,
    listener: TcpListener,
    worker: Option<&WorkerSettings>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let worker = worker
        .map(|worker| Ok::<_, Failure>((worker.concurrency, outside(&worker.delivery)?)))
        .transpose()?;
    let sizes = &settings.database;
    let database = Database::new(sizes.url()?, sizes.database_pool_size, sizes.placement_pool_size)?;
    metrics::open(settings, &database).await?;
    let order_confirmed = Arc::new(Notify::new());
    let state = AppState {
        database: database.clone(),
        order_confirmed: order_confirmed.clone(),
    };
    let app = server::app(state, &settings.http, &settings.redis)?;
    tracing::info!("listening on http://{}", listener.local_addr()?);

    // Whichever ends first ends the other.
    let server = async {
        let outcome = server::run(listener, app, shutdown.clone()).await;
        shutdown.cancel();
        outcome.map_err(Failure::from)
    };
    let worker = async {
        let Some((concurrency, outside)) = worker else {
            return Ok(());
        };
        let db = database.pool.clone();
        let outcome = worker::run(
            db,
            &settings.redis,
            concurrency,
            outside,
            order_confirmed,
            shutdown.clone(),
        )
        .await;
        shutdown.cancel();
        outcome.map_err(Failure::from)
    };
    let (server, worker) = tokio::join!(server, worker);
    database.close().await;
    tracing::info!("stopped");
    server.and(worker)
}
