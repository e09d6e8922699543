//! `afforo seed`

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{Failure, Settings};
use crate::{
    database,
    seed::{self, Plan},
};

/// What `afforo seed` is told.
#[derive(Args, Debug)]
pub(super) struct Seed {
    /// Delete all data first, orders included
    #[arg(long)]
    clear: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    yes: bool,
    /// Categories to make
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    categories: u32,
    /// Products to make
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    products: u32,
    /// Stores to make; each stocks 60 to 90 % of the products
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    stores: u32,
    /// Make the same data again: a number that decides all chance
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
            random_seed: self.random_seed,
        };
        let made = fill(settings.database.url()?, self.clear, &plan).await?;
        writeln!(
            io::stdout(),
            "Made {} categories, {} products, {} stores and {} stock rows.",
            made.categories,
            made.products,
            made.stores,
            made.inventory
        )?;
        Ok(())
    }
}

/// Fills a database, with a progress bar where somebody can see it.
pub(super) async fn fill(url: &str, clear: bool, plan: &Plan) -> Result<seed::Made, Failure> {
    // Writing demo data may take longer than a request may, and nobody wonders at it.
    let options = database::connect_options(url)?
        .options([("statement_timeout", "0")])
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    if !database::pending(&mut connection).await?.is_empty() {
        return Err("the schema is not up to date: run `afforo migrate` first".into());
    }
    if clear {
        seed::clear(&mut connection).await?;
    }
    let bar = ProgressBar::new(plan.rows());
    if !io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} rows, {per_sec}, {eta} left",
    )?);
    let made = seed::run(&mut connection, plan, |rows| bar.inc(rows)).await?;
    bar.finish_and_clear();
    connection.close().await?;
    Ok(made)
}

fn confirmed() -> io::Result<bool> {
    write!(
        io::stderr(),
        "This deletes all categories, products, stores, stock and orders. Go on? [y/N] "
    )?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
