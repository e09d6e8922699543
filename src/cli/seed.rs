//! `afforo seed`

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::Connection;

use super::{Failure, Settings};
use crate::{
    db,
    seed::{self, Made, Plan, Progress},
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
    #[command(flatten)]
    plan: Plan,
}

impl Seed {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        if self.clear && !self.yes && io::stdin().is_terminal() && !confirmed()? {
            return Err("nothing was deleted".into());
        }
        let plan = self.plan;
        if u64::from(plan.inventory.unwrap_or(0)) > u64::from(plan.products) * u64::from(plan.stores) {
            return Err("--inventory is more than every product in every store".into());
        }
        let (made, rows, took) = fill(settings.database.migrate_url()?, self.clear, &plan).await?;
        writeln!(
            io::stdout(),
            "Made {} categories, {} products, {} stores, {} stock rows and {} orders: {rows} rows in {:.1} s.",
            made.categories,
            made.products,
            made.stores,
            made.inventory,
            made.orders,
            took.as_secs_f64(),
        )?;
        Ok(())
    }
}

/// Fills a database, with a progress bar on a terminal. Returns what was created, the number of rows and the time taken.
pub(super) async fn fill(url: &str, clear: bool, plan: &Plan) -> Result<(Made, u64, Duration), Failure> {
    let options = db::bulk_options(url).await?;
    let mut connection = super::connect(&options).await?;
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
    // Read before it is finished, which sets the expected number.
    let (rows, took) = (bar.position(), bar.elapsed());
    bar.finish_and_clear();
    if plan.orders > 0 && made.orders == 0 {
        return Err("no orders were placed: no active store has stock".into());
    }
    Ok((made, rows, took))
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
