//! `afforo partitions`: convert the tables of the history, make partitions, list and detach them.

use std::fmt::Write as _;

use clap::{Args, Subcommand, value_parser};

use super::{Failure, Settings, print};
use crate::{
    db,
    partitions::{self, Converted, Listed},
};

/// Arguments of `afforo partitions`.
#[derive(Args, Debug)]
pub(super) struct Partitions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make partitioned tables of `orders`, `order_item` and `stock_movement`, while servers run
    Convert {
        /// Ids of a partition
        // A worker makes partitions every minute, and two of them have to last for that time.
        #[arg(long, value_name = "IDS", default_value_t = 10_000_000, value_parser = value_parser!(i64).range(1_000_000..=1_000_000_000_000))]
        size: i64,
    },
    /// Make the next partitions now, as the worker does every minute
    Ensure,
    /// List the tables with their ranges, estimated rows and sizes
    List,
    /// Detach partitions of old orders. They become separate tables that Afforo does not use
    Detach {
        /// Detach partitions that end before this order
        #[arg(long, value_name = "ORDER")]
        before: i64,
    },
}

impl Partitions {
    pub async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let options = db::bulk_options(settings.database.migrate_url()?).await?;
        let mut connection = super::connect(&options).await?;
        let text = match self.command {
            Command::Convert { size } => match partitions::convert(&options, size).await? {
                Converted::Now => "The tables are partitioned.\n".to_owned(),
                Converted::Before => "The tables were partitioned before.\n".to_owned(),
            },
            Command::Ensure => lines("made", &partitions::ensure(&mut connection).await?)?,
            Command::List => listed(&partitions::list(&mut connection).await?)?,
            Command::Detach { before } => {
                let detached = partitions::detach(&options, before).await?;
                let mut text = lines("detached", &detached.partitions)?;
                if let Some(order) = detached.first_order {
                    writeln!(text, "The first order is {order} now.")?;
                }
                text
            }
        };
        print(text.as_bytes())
    }
}

fn lines(done: &str, partitions: &[String]) -> Result<String, Failure> {
    let mut text = String::new();
    for partition in partitions {
        writeln!(text, "{done}: {partition}")?;
    }
    if partitions.is_empty() {
        writeln!(text, "nothing to be {done}")?;
    }
    Ok(text)
}

fn listed(tables: &[Listed]) -> Result<String, Failure> {
    let mut text = String::new();
    for table in tables {
        let Listed {
            name,
            state,
            rows,
            bytes,
            ..
        } = table;
        let range = table.range.as_deref().unwrap_or_default();
        let megabytes = bytes / 1_000_000;
        writeln!(
            text,
            "{name:<28} {state:<10} {rows:>12} rows {megabytes:>9} MB  {range}"
        )?;
    }
    Ok(text)
}
