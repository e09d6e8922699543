//! `afforo seed`

use std::{
    fmt,
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{Failure, Settings};
use crate::{
    db,
    seed::{self, Plan, Progress},
};

/// Arguments of `afforo seed`.
#[derive(Args, Debug)]
pub(super) struct Seed {
    /// Delete all data first, including orders; accounts, API keys and the audit log stay, and ids continue
    #[arg(long)]
    clear: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    yes: bool,
    /// Number of categories
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    categories: u32,
    /// Number of products
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    products: u32,
    /// Number of stores
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    stores: u32,
    /// Number of stock rows, spread evenly over the stores [default: each store stocks 60 to 90 % of the products]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    inventory: Option<u32>,
    /// Number of orders over the past 30 days, from active stores with stock
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    orders: u32,
    /// Seed of the random numbers, to create the same data again. Timestamps and the sequence of orders of different stores
    /// still differ
    #[arg(long, value_name = "N")]
    #[expect(clippy::struct_field_names, reason = "the flag is named so")]
    random_seed: Option<u64>,
}

impl Seed {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        if self.clear && !self.yes && io::stdin().is_terminal() && !confirmed()? {
            return Err("nothing was deleted".into());
        }
        let plan = Plan {
            categories: self.categories,
            products: self.products,
            stores: self.stores,
            inventory: self.inventory,
            orders: self.orders,
            random_seed: self.random_seed,
        };
        if u64::from(plan.inventory.unwrap_or(0)) > u64::from(plan.products) * u64::from(plan.stores) {
            return Err("--inventory is more than every product in every store".into());
        }
        let made = fill(settings.database.url()?, self.clear, &plan).await?;
        writeln!(io::stdout(), "{made}")?;
        Ok(())
    }
}

/// The created rows and the time taken.
pub(super) struct Filled {
    pub made: seed::Made,
    rows: u64,
    took: Duration,
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.made;
        write!(
            f,
            "Made {} categories, {} products, {} stores, {} stock rows and {} orders: {} rows in {:.1} s.",
            made.categories,
            made.products,
            made.stores,
            made.inventory,
            made.orders,
            self.rows,
            self.took.as_secs_f64(),
        )
    }
}

/// Fills a database, with a progress bar on a terminal.
pub(super) async fn fill(url: &str, clear: bool, plan: &Plan) -> Result<Filled, Failure> {
    // Demo data may take longer than the statement timeout of requests.
    let options = db::connect_options(url)?
        .options([("statement_timeout", "0")])
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    if !db::versions(&mut connection).await?.missing.is_empty() {
        return Err("the schema is not up to date: run `afforo migrate` first".into());
    }
    if clear {
        seed::clear(&mut connection).await?;
    }
    let present = seed::present(&mut connection).await?;
    connection.close().await?;
    if present != [0; 3] {
        let [categories, products, stores] = present;
        writeln!(
            io::stderr(),
            "There are {categories} categories, {products} products and {stores} stores already: {} products and {} stores are added to \
             them. `--clear` deletes all data first.",
            plan.products,
            plan.stores,
        )?;
    }
    let bar = ProgressBar::new(plan.rows());
    if !io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} rows, {per_sec}, {eta} left: {msg}",
    )?);
    let made = seed::run(&options, plan, |progress| match progress {
        Progress::Rows(rows) => bar.inc(rows as u64),
        Progress::Stage(stage) => {
            tracing::debug!(stage, rows = bar.position(), "seeding");
            bar.set_message(stage);
        }
    })
    .await?;
    // Where it stands in the end: finished, it would be where it was expected to.
    let (rows, took) = (bar.position(), bar.elapsed());
    bar.finish_and_clear();
    if plan.orders > 0 && made.orders == 0 {
        return Err("no orders were placed: no active store has stock".into());
    }
    Ok(Filled { made, rows, took })
}

fn confirmed() -> io::Result<bool> {
    write!(
        io::stderr(),
        "This deletes all categories, products, stores, stock and orders, but no accounts and keys. Go on? [y/N] "
    )?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
