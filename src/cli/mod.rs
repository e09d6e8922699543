//! The command line: one file for each subcommand.

mod apikey;
mod changepassword;
mod check;
mod completions;
mod configuration;
mod createsuperuser;
mod dev;
mod healthcheck;
mod jobs;
mod metrics;
mod migrate;
mod openapi;
mod partitions;
mod prompt;
mod secret_key;
mod seed;
mod serve;
mod wait_for;
mod worker;

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    config::{DatabaseSettings, HttpSettings, LogSettings, RedisSettings, SettingsError, TelemetrySettings},
    db, error_chain,
    shutdown::Signals,
    telemetry::{self, Traces, TracesError},
};

/// Inventory and orders: stock per store, and orders placed atomically against it.
///
/// Each setting is a flag, an environment variable, or a line in a file `.env`, in this order of precedence.
#[derive(Debug, Parser)]
#[command(name = "afforo", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

/// Settings that subcommands share.
#[derive(Clone, Debug, clap::Args)]
struct Settings {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    redis: RedisSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
    /// All settings by the names of their variables, without secrets.
    #[arg(skip)]
    configuration: Vec<(String, String)>,
}

impl Settings {
    /// Checks secret values here, because clap would print them.
    fn check(&mut self) -> Result<(), SettingsError> {
        self.database.check()?;
        self.redis.check()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API
    #[command(visible_alias = "runserver")]
    Serve(serve::Serve),
    /// Run the background worker: confirmations and periodic jobs
    Worker(worker::Worker),
    /// Apply database migrations
    Migrate(migrate::Migrate),
    /// Fill the database with demo data
    #[command(visible_alias = "seed_data")]
    Seed(seed::Seed),
    /// Check consistency: counters, stock against the ledger, orders against their confirmations
    Check(check::Check),
    /// Show jobs, and list, retry or drop dead letters
    Jobs(jobs::Jobs),
    /// Partition orders, their items and the ledger by ranges of ids, for many years of orders
    Partitions(partitions::Partitions),
    /// Create, list and revoke API keys
    #[command(name = "apikey")]
    ApiKeys(apikey::ApiKeys),
    /// Create an account with all permissions for the console at /admin/
    Createsuperuser(createsuperuser::CreateSuperuser),
    /// Change the password of an account, and end its sessions
    Changepassword(changepassword::ChangePassword),
    /// Run everything on this machine, with a private PostgreSQL and Redis
    Dev(dev::Dev),
    /// Check the health of a running server; for containers
    Healthcheck(healthcheck::Healthcheck),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// The error of a subcommand. It is printed with its causes.
type Failure = Box<dyn Error + Send + Sync>;

/// Runs the program, and returns its exit code: 0, 1 for a failure, 2 for a wrong command line.
pub fn main() -> ExitCode {
    start().unwrap_or_else(|(code, error)| {
        eprintln!("error: {error}");
        code.into()
    })
}

/// The exit code and the text of a failure to start.
type StartError = (u8, String);

fn usage(error: impl Display) -> StartError {
    (2, error.to_string())
}

fn start() -> Result<ExitCode, StartError> {
    load_dotenv().map_err(usage)?;
    // Setting variables needs a single thread. Signal handlers need the runtime, and come before everything else.
    let started = tokio::runtime::Runtime::new().and_then(|runtime| {
        let _entered = runtime.enter();
        let signals = Signals::handle()?;
        Ok((runtime, signals))
    });
    let (runtime, signals) = started.map_err(|error| (1, format!("no threads to run on: {error}")))?;
    let matches = definition().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.settings.configuration = configuration::of(&definition(), &matches);
    cli.settings.check().map_err(usage)?;
    let traces =
        export_traces(&cli).map_err(|error| usage(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}")))?;
    let log = &cli.settings.log;
    telemetry::start(&log.rust_log, log.log_format, traces.as_ref())
        .map_err(|error| usage(format!("RUST_LOG: {error}")))?;
    let code = runtime.block_on(run(cli, signals));
    let code = code.map_err(|error| (1, error_chain::text(&*error)));
    if let Some(traces) = traces {
        traces.stop();
    }
    // Do not wait for a thread with a slow DNS lookup.
    runtime.shutdown_background();
    code
}

/// Exports spans if they are configured and the subcommand is a long-running one.
fn export_traces(cli: &Cli) -> Result<Option<Traces>, TracesError> {
    let has_spans = matches!(
        cli.command,
        Command::Serve(_) | Command::Worker(_) | Command::Dev(_)
    );
    let endpoint = cli.settings.telemetry.otel_exporter_otlp_endpoint.trim();
    (has_spans && !endpoint.is_empty())
        .then(|| Traces::to(endpoint))
        .transpose()
}

/// The command line's definition, with every flag, variable and default.
pub fn definition() -> clap::Command {
    Cli::command()
}

async fn run(cli: Cli, signals: Signals) -> Result<ExitCode, Failure> {
    let Cli { command, settings } = cli;
    match command {
        Command::Serve(serve) => serve.run(settings, signals).await?,
        Command::Worker(worker) => worker.run(settings, signals).await?,
        Command::Migrate(migrate) => return migrate.run(&settings).await,
        Command::Check(check) => return check.run(&settings).await,
        Command::ApiKeys(keys) => keys.run(&settings).await?,
        Command::Partitions(partitions) => partitions.run(&settings).await?,
        Command::Jobs(jobs) => return jobs.run(&settings).await,
        Command::Seed(seed) => seed.run(&settings).await?,
        Command::Createsuperuser(create) => create.run(&settings).await?,
        Command::Changepassword(change) => change.run(&settings).await?,
        Command::Dev(dev) => dev.run(settings, signals).await?,
        Command::Healthcheck(healthcheck) => healthcheck.run().await?,
        Command::Openapi => openapi::run()?,
        Command::Completions(completions) => completions.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads `.env` from this folder or one above. It does not override the environment.
fn load_dotenv() -> Result<(), String> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(format!("the file .env cannot be read: {error}")),
    }
}

/// Prints to standard output. A closed pipe, such as by `head`, is not an error.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Connects to a database whose schema is up to date.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    let mut connection = PgConnection::connect_with(options).await?;
    if !db::versions(&mut connection).await?.missing.is_empty() {
        return Err("the schema is not up to date: run `afforo migrate` first".into());
    }
    Ok(connection)
}
