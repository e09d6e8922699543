//! `afforo serve`

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use sqlx::{Connection, PgConnection};
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Failure, Settings, configuration, metrics, patience::Patience, secret_key, worker::outside};
use crate::{
    config::{ApiAuth, HttpSettings, ListenSettings, OverloadSettings, WorkerSettings},
    db::{self, Database, Migrated, Versions},
    http::{AppState, ScanLimit},
    server::{self, Limits},
    shutdown::{Signals, Stop},
    worker,
};

/// How long the connections to the database may take to come back when everything has ended: what they were busy with was
/// waited for before.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

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
    patience: Patience,
    #[command(flatten)]
    overload: OverloadSettings,
    #[command(flatten)]
    worker: WorkerSettings,
}

impl Serve {
    pub async fn run(self, mut settings: Settings, signals: Signals) -> Result<(), Failure> {
        settings.http.require_secret_key()?;
        let address = self.listen.address();
        settings.http.check_address(address)?;
        let url = settings.database.url()?;
        self.patience.wait(url).await?;
        secret_key::check(&settings).await?;
        if self.migrate {
            migrate(&settings).await?;
        } else {
            tokio::spawn(compare_schema(url.to_owned()));
        }
        let worker = self.with_worker.then_some(&self.worker);
        let shutdown = signals.graceful();
        let listener = bind(address).await?;
        serve(&settings, &self.overload, listener, worker, shutdown).await
    }
}

/// Migrates, and logs what there was to do.
pub(super) async fn migrate(settings: &Settings) -> Result<(), Failure> {
    match db::migrate(settings.database.url()?).await? {
        Migrated::Applied(migrations) => tracing::info!(migrations, "schema brought up to date"),
        Migrated::UpToDate => tracing::info!("schema is up to date"),
        Migrated::Newer(unknown) => warn_of_newer(&unknown),
    }
    Ok(())
}

/// Says what is wrong with the schema, as far as the database can be asked: a server starts without it.
async fn compare_schema(url: String) {
    let compared = async {
        let mut connection = PgConnection::connect_with(&db::connect_options(&url)?).await?;
        let versions = db::versions(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(versions)
    };
    match compared.await {
        Ok(Versions { missing, unknown }) => {
            if !missing.is_empty() {
                tracing::warn!("the schema lacks {}: run `afforo migrate`", missing.join(", "));
            }
            warn_of_newer(&unknown);
        }
        Err(error) => tracing::warn!(%error, "the database does not answer; serving goes on until it does"),
    }
}

/// A newer schema is served on: migrations are made to be safe beside the release before.
fn warn_of_newer(unknown: &[String]) {
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        tracing::warn!("the schema is newer than this release, which does not know {unknown}");
    }
}

/// Closes the connections to the database, in bounded time.
pub(super) async fn close(database: &Database) {
    if timeout(CLOSE_WITHIN, database.close()).await.is_err() {
        tracing::warn!("some connections to the database are still busy");
    }
}

/// Says so wherever anybody may change everything: what is wanted on a developer's machine may have been forgotten elsewhere.
fn warn_if_open(http: &HttpSettings, address: SocketAddr) {
    if http.api_auth() == ApiAuth::Off {
        let why = match http.api_auth.0 {
            Some(_) => "API_AUTH=off",
            None => "DEBUG is on",
        };
        tracing::warn!(
            "the API is open, since {why}: whoever reaches {address} may change stock, prices and orders"
        );
    }
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
    overload: &OverloadSettings,
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
    let database = Arc::new(database);
    let order_confirmed = Arc::new(Notify::new());
    let state = AppState {
        database: database.clone(),
        order_confirmed: order_confirmed.clone(),
        stop: Arc::new(Stop::on(shutdown.clone())),
        scans: ScanLimit::default(),
    };
    let limits = Limits::new(overload, sizes.database_pool_size);
    let configuration = configuration::effective(settings)?.into();
    let app = server::app(state, &settings.http, &settings.redis, limits, configuration)?;
    let address = listener.local_addr()?;
    warn_if_open(&settings.http, address);
    tracing::info!("listening on http://{address}");

    // Whichever ends first ends the other.
    let server = async {
        let outcome = server::run(listener, app).await;
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
    close(&database).await;
    tracing::info!("stopped");
    server.and(worker)
}
