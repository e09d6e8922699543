//! `afforo dev`: everything on this machine, from one command.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::spawn_blocking;

use super::{Failure, Settings, secret_key, seed, serve};
use crate::{
    auth::{Secret, setup},
    config::{CapacitySettings, ListenSettings, WorkerSettings, random_secret_key},
    db,
    seed::Plan,
    shutdown::Signals,
};
use devstack::{self, DevstackError, Postgres, Redis};

/// The database on the private PostgreSQL.
const DATABASE: &str = "afforo";

/// Arguments of `afforo dev`.
#[derive(Args, Debug)]
pub(super) struct Dev {
    #[command(flatten)]
    listen: ListenSettings,
    /// Delete the data of earlier runs first
    #[arg(long)]
    reset: bool,
    /// Keep no data after the end
    #[arg(long, conflicts_with = "reset")]
    ephemeral: bool,
    #[command(flatten)]
    capacity: CapacitySettings,
    #[command(flatten)]
    worker: WorkerSettings,
}

impl Dev {
    pub async fn run(self, mut settings: Settings, signals: Signals) -> Result<(), Failure> {
        let makes_up_secret = settings.http.debug && settings.http.has_no_secret_key();
        settings.http.require_secret_key()?;
        // Bind first: a port in use fails at once, and the banner knows a port that the system chose.
        let address = self.listen.address();
        settings.http.check_address(address)?;
        let listener = serve::bind(address).await?;
        let dir = data_dir()?;
        let servers = Servers::start(&self, &dir, &mut settings).await?;
        if makes_up_secret && !self.ephemeral {
            settings.http.secret_key = Some(devstack::load_or_create_secret(&dir, random_secret_key)?.into());
        }
        secret_key::check(&settings).await?;
        serve::migrate(&settings).await?;
        db::complete_upgrade(settings.database.migrate_url()?).await?;
        seed_if_empty(&settings).await?;
        // From here Ctrl-C stops in order. Before, it ends this process and its servers.
        let shutdown = signals.graceful();
        let first = First::of(&settings).await?;
        banner(listener.local_addr()?, &servers, first)?;
        let worker = Some(&self.worker);
        let served = serve::serve(&settings, &self.capacity, listener, worker, shutdown).await;
        servers.stop().await;
        served
    }
}

/// The private servers. A server that the environment names is not started.
struct Servers {
    redis: Option<Redis>,
    postgres: Option<Postgres>,
}

impl Servers {
    /// Starts the needed servers, and puts their URLs into the settings.
    async fn start(dev: &Dev, dir: &Path, settings: &mut Settings) -> Result<Self, Failure> {
        let (reset, ephemeral, dir) = (dev.reset, dev.ephemeral, dir.to_owned());
        let wants_postgres = settings.database.database_url.is_none();
        let wants_redis = settings.redis.redis_url.is_none();
        let servers = spawn_blocking(move || {
            if reset {
                devstack::reset(&dir)?;
            }
            let postgres = || {
                if ephemeral {
                    Postgres::throwaway()
                } else {
                    Postgres::persistent(&dir)
                }
            };
            let redis = || {
                if ephemeral {
                    Redis::throwaway()
                } else {
                    Redis::persistent(&dir)
                }
            };
            Ok::<_, DevstackError>(Self {
                postgres: wants_postgres.then(postgres).transpose()?,
                redis: wants_redis.then(redis).transpose()?,
            })
        })
        .await??;
        if let Some(postgres) = &servers.postgres {
            create_database(postgres).await?;
            settings.database.database_url = Some(postgres.url(DATABASE).into());
            settings.database.migrate_database_url = None;
        }
        if let Some(redis) = &servers.redis {
            settings.redis.redis_url = Some(redis.url(0).into());
        }
        Ok(servers)
    }

    /// Stops the servers and waits for their end.
    async fn stop(self) {
        if let Err(error) = spawn_blocking(move || drop(self)).await {
            tracing::error!(%error, "the private servers did not stop cleanly");
        }
    }
}

/// The data folder: `.afforo` in the root of the clone.
fn data_dir() -> io::Result<PathBuf> {
    const NAME: &str = ".afforo";
    let here = std::env::current_dir()?;
    let clone = here
        .ancestors()
        .find(|folder| folder.join(NAME).is_dir() || folder.join("Cargo.toml").is_file());
    Ok(clone.unwrap_or(&here).join(NAME))
}

async fn create_database(postgres: &Postgres) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect(&postgres.url("postgres")).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut admin)
        .await?;
    if !exists {
        admin.execute("create database afforo").await?;
    }
    admin.close().await
}

async fn seed_if_empty(settings: &Settings) -> Result<(), Failure> {
    let url = settings.database.url()?;
    let mut connection = PgConnection::connect_with(&db::connect_options(url).await?).await?;
    let empty = crate::seed::is_empty(&mut connection).await?;
    connection.close().await?;
    if empty {
        // A fixed seed, so that the examples of the README work.
        let plan = Plan {
            random_seed: Some(1),
            ..Plan::default()
        };
        let (made, ..) = seed::fill(url, false, &plan).await?;
        tracing::info!(products = made.products, stores = made.stores, "demo data made");
    }
    Ok(())
}

/// First steps for the banner.
struct First {
    /// The setup token, while there is no account.
    setup: Option<String>,
    /// The JSON body of an order that the stock allows.
    order: Option<String>,
}

impl First {
    async fn of(settings: &Settings) -> Result<Self, Failure> {
        let secret = Secret::new(settings.http.secret_key.clone().unwrap_or_default());
        let mut connection =
            PgConnection::connect_with(&db::connect_options(settings.database.url()?).await?).await?;
        let setup = setup::token(&mut connection, &secret).await?;
        let order = crate::seed::possible_order(&mut connection).await?;
        connection.close().await?;
        let order = order.map(|(store, product)| {
            format!(r#"{{"store_id": {store}, "items": [{{"product_id": {product}, "quantity": 2}}]}}"#)
        });
        Ok(Self { setup, order })
    }
}

fn banner(address: SocketAddr, servers: &Servers, first: First) -> io::Result<()> {
    let mut out = io::stdout();
    let base = format!("http://{address}");
    writeln!(out, "\n  Afforo is at {base}\n")?;
    writeln!(out, "  API         {base}/api/products/")?;
    writeln!(out, "  Try it out  {base}/api/docs/")?;
    writeln!(out, "  Console     {base}/admin/")?;
    if let Some(postgres) = &servers.postgres {
        writeln!(
            out,
            "  Database    psql -h {} -U postgres {DATABASE}",
            postgres.socket_dir().display()
        )?;
        writeln!(out, "  Data        {}", postgres.data_dir().display())?;
    }
    if let Some(order) = first.order {
        writeln!(out, "\n  Place an order:")?;
        writeln!(
            out,
            "    curl {base}/api/orders/ -H 'Content-Type: application/json' -d '{order}'"
        )?;
    }
    if let Some(token) = first.setup {
        writeln!(
            out,
            "\n  Make the first account of the console, once, within a day:"
        )?;
        writeln!(out, "    {base}/admin/setup/?token={token}")?;
    }
    writeln!(out, "\n  Ctrl-C stops all of it.\n")
}
