//! The services of docker-compose.yml that run Afforo, and a replacement for Docker Compose.

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::program::{Running, afforo_in};

/// The replacement runs commands on this machine, with the settings of the container in the environment. Commands that
/// start or stop containers do nothing.
pub(super) const PROGRAM: &str = r#"#!/bin/sh
set -eu
case $1 in
up | stop | build | pull | logs) exit 0 ;;
exec | run) shift ;;
*) echo "docker-compose $*: not known here" >&2; exit 64 ;;
esac
while :; do
    case $1 in
    -T | --rm) shift ;;
    -e) case $2 in *=*) export "$2" ;; esac; shift 2 ;;
    *) break ;;
    esac
done
service=$1
shift
case "$service $*" in
# A terminal would be asked.
"web afforo createsuperuser")
    export DJANGO_SUPERUSER_PASSWORD="correct horse battery"
    exec "$@" --noinput --username ada ;;
"db psql -U afforo -c \\password afforo") exit 0 ;;
"web afforo "* | "worker afforo "* | "db psql "* | "db pg_dump "* | "db pg_restore "*) exec "$@" ;;
"redis redis-cli "*) shift; exec redis-cli -s "${REDIS_SOCKET:?}" -n "${REDIS_DATABASE:?}" "$@" ;;
*) echo "$service has no $*" >&2; exit 64 ;;
esac
"#;

/// The services that run Afforo.
pub(super) struct Compose {
    text: String,
    /// The variables of `.env`.
    env: BTreeMap<String, String>,
    /// The variables for commands of other services.
    servers: [(String, String); 4],
}

impl Compose {
    /// Reads the file and the `.env` of a folder. The services use the servers of the test.
    pub(super) fn read(folder: &Path, database_url: &str, redis_url: &str) -> Self {
        let env = fs::read_to_string(folder.join(".env")).unwrap();
        let env = env.lines().filter_map(|line| line.split_once('='));
        let (socket, database) = redis_url
            .strip_prefix("redis+unix://")
            .and_then(|url| url.split_once("?db="))
            .unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            text: fs::read_to_string("docker-compose.yml").unwrap(),
            env: env.map(|(name, value)| variable(name, value)).collect(),
            servers: [
                variable("DATABASE_URL", database_url),
                variable("REDIS_URL", redis_url),
                variable("REDIS_SOCKET", socket),
                variable("REDIS_DATABASE", database),
            ],
        }
    }

    /// Starts a service with its command, on a free port of the loopback interface.
    pub(super) fn start(&self, service: &str, folder: &Path) -> Running {
        let section = self.section(&format!("  {service}:"));
        let command = section
            .iter()
            .find_map(|line| line.trim().strip_prefix("command: ["))
            .unwrap();
        let words = command
            .trim_end_matches(']')
            .split(", ")
            .map(|word| word.trim_matches('"'));
        let words: Vec<&str> = words
            .skip(1)
            .map(|word| {
                if word == "0.0.0.0:8000" {
                    "127.0.0.1:0"
                } else {
                    word
                }
            })
            .collect();
        Running::start(afforo_in(folder, &words).envs(self.variables(service)))
    }

    /// The environment of a service.
    pub(super) fn variables(&self, service: &str) -> Vec<(String, String)> {
        let shared = self.section("x-environment: &environment");
        let own = self.section(&format!("  {service}:"));
        let own = own
            .iter()
            .skip_while(|line| line.trim() != "environment:")
            .skip(1);
        let own = own.take_while(|line| line.starts_with("      "));
        let lines = shared.iter().chain(own).map(|line| line.trim());
        let named = lines.filter_map(|line| line.split_once(':'));
        let mut variables: BTreeMap<String, String> = named
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .filter_map(|(name, value)| Some((name.to_owned(), self.value(name, value.trim())?)))
            .collect();
        assert_eq!(variables["DEBUG"], "False");
        variables.extend(self.servers.iter().cloned());
        variables.into_iter().collect()
    }

    /// The lines below a line with less indentation.
    fn section(&self, first: &str) -> Vec<&str> {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let lines = self.text.lines().skip_while(|line| *line != first).skip(1);
        let section: Vec<&str> = lines
            .take_while(|line| line.trim().is_empty() || indent(line) > indent(first))
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
            .collect();
        assert!(!section.is_empty(), "docker-compose.yml has {first}");
        section
    }

    /// The value of a variable: `${NAME:-default}`, `${NAME:?error}`, or the value in `.env` if it has none.
    fn value(&self, name: &str, value: &str) -> Option<String> {
        if value.is_empty() {
            return self.env.get(name).cloned();
        }
        let Some((before, rest)) = value.split_once("${") else {
            return Some(value.to_owned());
        };
        let (variable, after) = rest.split_once('}').unwrap();
        let (variable, default) = variable.split_once(':').unwrap_or((variable, "-"));
        let set = self.env.get(variable).cloned();
        let set = set.or_else(|| default.strip_prefix('-').map(str::to_owned));
        let set = set.unwrap_or_else(|| panic!("{variable} is not set"));
        Some(format!("{before}{set}{after}"))
    }
}
