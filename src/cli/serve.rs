//! `afforo serve`

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Failure, Settings, configuration, metrics, secret_key, wait_for::WaitFor};
use crate::{
    config::{ApiAuth, CapacitySettings, HttpSettings, ListenSettings, WorkerSettings},
    db::{self, Database, Migrated, Versions},
    http::{AppState, ScanLimit},
    server::{self, Limits},
    shutdown::{Signals, Stop},
    worker,
};

/// How long the database pools may take to close after all requests and jobs have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Arguments of `afforo serve`.
#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    listen: ListenSettings,
    /// Run the background worker in the same process
    #[arg(long)]
    with_worker: bool,
    /// Apply migrations first
    #[arg(long)]
    migrate: bool,
    /// Confirm after the migrations that no server or worker of an earlier release is running any more
    #[arg(long, requires = "migrate")]
    complete: bool,
    #[command(flatten)]
    wait_for: WaitFor,
    #[command(flatten)]
    capacity: CapacitySettings,
    #[command(flatten)]
    worker: WorkerSettings,
}

impl Serve {
    pub async fn run(self, mut settings: Settings, signals: Signals) -> Result<(), Failure> {
        settings.http.require_secret_key()?;
        let address = self.listen.address();
        settings.http.check_address(address)?;
        let url = settings.database.url()?;
        self.wait_for.wait(url).await?;
        db::check_sessions(url).await?;
        secret_key::check(&settings).await?;
        if self.migrate {
            migrate(&settings).await?;
            if self.complete {
                db::complete_upgrade(settings.database.migrate_url()?).await?;
            }
        } else {
            tokio::spawn(compare_schema(url.to_owned()));
        }
        let worker = self.with_worker.then_some(&self.worker);
        let shutdown = signals.graceful();
        let listener = bind(address).await?;
        serve(&settings, &self.capacity, listener, worker, shutdown).await
    }
}

/// Applies migrations, and logs the result.
pub(super) async fn migrate(settings: &Settings) -> Result<(), Failure> {
    match db::migrate(settings.database.migrate_url()?).await? {
        Migrated::Applied(migrations) => tracing::info!(migrations, "schema brought up to date"),
        Migrated::UpToDate => tracing::info!("schema is up to date"),
        Migrated::Newer(unknown) => warn_of_newer(&unknown),
    }
    Ok(())
}

/// Warns about a schema that does not match. A server also starts while the database is down.
async fn compare_schema(url: String) {
    let compared = async {
        let mut connection = PgConnection::connect_with(&db::connect_options(&url).await?).await?;
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
        Err(error) => tracing::warn!(%error, "the database does not answer; requests fail until it does"),
    }
}

/// A newer schema is fine: each migration works with the release before.
fn warn_of_newer(unknown: &[String]) {
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        tracing::warn!("the schema is newer than this release, which does not know {unknown}");
    }
}

/// Closes the database pools, in bounded time.
pub(super) async fn close(database: &Database) {
    if timeout(CLOSE_TIMEOUT, database.close()).await.is_err() {
        tracing::warn!("some connections to the database are still busy");
    }
}

/// Warns if the API needs no key: intended for development, a mistake elsewhere.
fn warn_if_open(http: &HttpSettings, address: SocketAddr) {
    if http.api_auth() == ApiAuth::Off {
        let why = match http.api_auth.0 {
            Some(_) => "API_AUTH=off",
            None => "DEBUG is on",
        };
        tracing::warn!(
            "the API is open, because {why}: every client that reaches {address} can change stock, prices and orders"
        );
    }
}

/// Binds the address. Connections wait from now on.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; is another server running there?").into()
    })
}

/// Serves until `shutdown`, with a worker if `worker` has its settings.
pub(super) async fn serve(
    settings: &Settings,
    capacity: &CapacitySettings,
    listener: TcpListener,
    worker: Option<&WorkerSettings>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let worker = worker
        .map(|settings| {
            let notifiers = worker::Notifiers::from_settings(&settings.delivery)?;
            Ok::<_, Failure>((settings.concurrency, notifiers))
        })
        .transpose()?;
    let sizes = &settings.database;
    let mut database = Database::new(sizes.url()?, sizes.database_pool_size, sizes.placement_pool_size)?;
    if let Some(url) = &sizes.database_replica_url {
        let url = url.expose_secret();
        database = database.with_replicas(url, sizes.database_pool_size, sizes.max_lag())?;
    }
    database.hosts.asked().await;
    metrics::open(settings, &database).await?;
    let database = Arc::new(database);
    let order_confirmed = Arc::new(Notify::new());
    let state = AppState {
        database: database.clone(),
        order_confirmed: order_confirmed.clone(),
        stop: Arc::new(Stop::on(shutdown.clone())),
        scans: ScanLimit::default(),
    };
    let limits = Limits::new(capacity, sizes.database_pool_size);
    let configuration = configuration::effective(settings)?.into();
    let app = server::app(state, &settings.http, &settings.redis, limits, configuration)?;
    let address = listener.local_addr()?;
    warn_if_open(&settings.http, address);
    tracing::info!("listening on http://{address}");

    // The first to end stops the other.
    let server = async {
        let outcome = server::run(listener, app).await;
        shutdown.cancel();
        outcome.map_err(Failure::from)
    };
    let worker = async {
        let Some((concurrency, notifiers)) = worker else {
            return Ok(());
        };
        let db = database.pool.clone();
        let outcome = worker::run(
            db,
            &settings.redis,
            concurrency,
            notifiers,
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
