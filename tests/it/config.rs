//! The settings in the command line, the environment and `.env.example`.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use afforo::cli;

/// The heading of the part of `.env.example` that Afforo does not read.
const END: &str = "\n# --- For docker-compose";

/// The values that the example shows where there is no default.
const SHOWN: &[(&str, &str)] = &[
    (
        "DATABASE_URL",
        "# DATABASE_URL=postgres://user:password@localhost:5432/inventory_db",
    ),
    (
        "MIGRATE_DATABASE_URL",
        "# MIGRATE_DATABASE_URL=postgres://user:password@localhost:5432/inventory_db",
    ),
    (
        "DATABASE_REPLICA_URL",
        "# DATABASE_REPLICA_URL=postgres://user:password@localhost:5432/inventory_db",
    ),
    ("REDIS_URL", "# REDIS_URL=redis://localhost:6379/0"),
    ("SECRET_KEY", "SECRET_KEY=change-me"),
    (
        "CONFIRMATION_EMAIL_TO",
        "# CONFIRMATION_EMAIL_TO=orders@example.com",
    ),
    ("WEBHOOK_URL", "# WEBHOOK_URL=https://shop.example.com/hooks"),
    ("WEBHOOK_SECRET", "# WEBHOOK_SECRET=whsec_..."),
];

/// Set `WRITE_ENV_EXAMPLE=1` to have this test write what it expects.
#[test]
fn env_example_matches_the_settings() {
    let example = fs::read_to_string(".env.example").unwrap();
    let (settings, rest) = example.split_at(example.find(END).unwrap_or(example.len()));
    let expected = expected();
    if std::env::var_os("WRITE_ENV_EXAMPLE").is_some() {
        fs::write(".env.example", format!("{expected}{rest}")).unwrap();
        return;
    }
    assert_eq!(
        settings, expected,
        "run it with WRITE_ENV_EXAMPLE=1 to write .env.example anew"
    );
}

#[test]
fn every_setting_is_documented_and_has_a_flag() {
    for argument in settings() {
        let name = argument.get_env().unwrap().to_string_lossy().into_owned();
        assert!(argument.get_long().is_some(), "{name} has no flag");
        assert!(argument.get_help().is_some(), "{name} has no documentation");
    }
}

#[test]
fn readme_names_every_setting() {
    let readme = fs::read_to_string("README.md").unwrap();
    for argument in settings() {
        let name = argument.get_env().unwrap().to_string_lossy().into_owned();
        assert!(
            readme.contains(&format!("| `{name}` |")),
            "README.md does not name {name}"
        );
    }
}

fn expected() -> String {
    let mut text = String::from(
        "# The settings of Afforo, as environment variables. Copy this file to .env; the environment and flags override it.\n",
    );
    let mut heading = None;
    for argument in settings() {
        let of = argument.get_help_heading().unwrap_or("Listening").to_owned();
        if heading.as_ref() != Some(&of) {
            write!(text, "\n# --- {of}\n").unwrap();
            heading = Some(of);
        }
        let name = argument.get_env().unwrap().to_string_lossy().into_owned();
        let help = argument.get_help().unwrap();
        let default: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let shown = SHOWN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, shown)| (*shown).to_owned());
        let shown = shown.unwrap_or_else(|| format!("{name}={}", default.join(",")));
        write!(text, "\n# {help}\n{shown}\n").unwrap();
    }
    text
}

/// Every argument of every subcommand that an environment variable sets, once.
fn settings() -> Vec<clap::Arg> {
    let mut command = cli::definition();
    command.build();
    let mut seen = BTreeSet::new();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    let arguments = commands.flat_map(clap::Command::get_arguments);
    arguments
        .filter(|argument| {
            argument
                .get_env()
                .is_some_and(|name| seen.insert(name.to_owned()))
        })
        .cloned()
        .collect()
}
