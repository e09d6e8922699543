//! The settings of this process, for superusers in the console. Secrets do not leave this file.
//!
//! They are read from the definition of the command line, so that none is missing. A setting with hidden values is a secret.

use clap::{Arg, ArgMatches, Command};

use super::Settings;
use crate::config::SettingsError;

/// The placeholder for a secret.
const SET: &str = "set, not shown";
const NOT_SET: &str = "not set";

/// Parts of names that always mean a secret.
const SECRET_WORDS: [&str; 4] = ["SECRET", "PASSWORD", "TOKEN", "CREDENTIAL"];

/// Each setting with a variable, by name, with its value in `matches`.
pub(super) fn of(definition: &Command, matches: &ArgMatches) -> Vec<(String, String)> {
    let mut settings = of_command(definition, matches);
    if let Some((name, matches)) = matches.subcommand()
        && let Some(subcommand) = definition.find_subcommand(name)
    {
        settings.extend(of_command(subcommand, matches));
    }
    settings.sort();
    settings.dedup_by(|one, other| one.0 == other.0);
    settings
}

/// The settings of a server, with the addresses in use, including those of `afforo dev`.
pub(super) fn effective(settings: &Settings) -> Result<Vec<(String, String)>, SettingsError> {
    let mut shown = settings.configuration.clone();
    for (name, url) in [
        ("DATABASE_URL", settings.database.url()?),
        ("REDIS_URL", settings.redis.url()),
    ] {
        if let Some((_, value)) = shown.iter_mut().find(|(known, _)| known == name) {
            *value = mask(url);
        }
    }
    Ok(shown)
}

fn of_command(command: &Command, matches: &ArgMatches) -> Vec<(String, String)> {
    let setting = |arg: &Arg| {
        let name = arg.get_env()?.to_str()?.to_owned();
        // A global flag is among the matches of every subcommand.
        let values = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
        let value = values.map(|values| {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            values.join(",")
        });
        let shown = show(&name, arg.is_hide_env_values_set(), value.as_deref());
        Some((name, shown))
    };
    command.get_arguments().filter_map(setting).collect()
}

fn show(name: &str, hidden: bool, value: Option<&str>) -> String {
    let is_secret = hidden || SECRET_WORDS.iter().any(|word| name.contains(word));
    match value {
        None => NOT_SET.to_owned(),
        Some(value) if is_secret && value.trim().is_empty() => NOT_SET.to_owned(),
        // The address without user and password.
        Some(url) if ["DATABASE_URL", "REDIS_URL"].contains(&name) => mask(url),
        Some(_) if is_secret => SET.to_owned(),
        Some(value) if value.contains("://") => value.split(',').map(mask).collect::<Vec<_>>().join(","),
        Some(value) => value.to_owned(),
    }
}

/// A URL without password and query, which may be secret. A text that is not a URL is not shown.
fn mask(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return SET.to_owned();
    };
    let (rest, query) = match rest.split_once(['?', '#']) {
        Some((rest, _)) => (rest, "?…"),
        None => (rest, ""),
    };
    // A password may contain an unescaped `@` or slash, so everything before the last `@` is masked.
    let masked = match rest.rsplit_once('@') {
        None => rest.to_owned(),
        Some((login, place)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:…@{place}"),
            None => format!("{login}@{place}"),
        },
    };
    format!("{scheme}://{masked}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(args: &[&str]) -> Vec<(String, String)> {
        let definition = super::super::definition();
        let matches = definition.clone().try_get_matches_from(args).unwrap();
        of(&definition, &matches)
    }

    #[test]
    fn urls_are_shown_without_credentials() {
        let shown = [
            "postgres://ann:s3cret@db:5432/shop",
            "postgres://ann:s3/c@ret@db/shop?password=s3cret",
            "redis://:s3cret@cache:6379/0",
            "redis://cache:6379/0",
            "s3cret",
        ]
        .map(mask);
        assert_eq!(
            shown,
            [
                "postgres://ann:…@db:5432/shop",
                "postgres://ann:…@db/shop?…",
                "redis://:…@cache:6379/0",
                "redis://cache:6379/0",
                SET,
            ]
        );
    }

    #[test]
    fn configuration_lists_every_variable_without_secrets() {
        let secrets = [
            "--database-url=postgres://u:s3cret@h/d",
            "--redis-url=redis://:s3cret@h/0",
            "--secret-key=s3cret",
            "--email-host-password=s3cret",
            "--webhook-url=https://example.com/s3cret",
            "--webhook-secret=whsec_s3cret",
            "--otel-exporter-otlp-endpoint=https://u:s3cret@h/",
        ];
        for command in ["serve", "dev"] {
            let shown = configuration(&[&["afforo", command][..], &secrets].concat());
            assert!(
                shown.iter().all(|(_, value)| !value.contains("s3cret")),
                "{shown:?}"
            );
            let of = |name: &str| &shown.iter().find(|(known, _)| known == name).unwrap().1;
            assert_eq!(of("DATABASE_URL"), "postgres://u:…@h/d");
            assert_eq!(of("SECRET_KEY"), SET);
            assert_eq!(of("OTEL_EXPORTER_OTLP_ENDPOINT"), "https://u:…@h/");
            let definition = super::super::definition();
            let subcommand = definition.find_subcommand(command).unwrap();
            for arg in definition.get_arguments().chain(subcommand.get_arguments()) {
                if let Some(name) = arg.get_env() {
                    assert!(
                        shown.iter().any(|(known, _)| name == known.as_str()),
                        "{name:?} is there"
                    );
                }
            }
        }
    }
}
