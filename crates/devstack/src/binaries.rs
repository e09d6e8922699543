//! Finds the programs of the servers. `scripts/install-servers.sh` looks in the same places.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::DevstackError;

/// The programs of one PostgreSQL installation.
#[derive(Debug, Clone)]
pub(super) struct PostgresBinaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

/// Folders with one subfolder per version: the folder, the prefix of the subfolder, and the folder of programs in it.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/usr/libexec", "postgresql", ""),
];

/// Folders where Homebrew and distributions install Redis, for a PATH that lacks them.
const REDIS_FOLDERS: [&str; 5] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
];

/// The PostgreSQL to use: `PG_BIN` if set, else `pg_config`, the newest installed package, then PATH. Existing data needs
/// a server of its own version.
pub(super) fn postgres(existing: Option<(&str, PathBuf)>) -> Result<PostgresBinaries, DevstackError> {
    let all: Vec<_> = folders()
        .into_iter()
        .filter_map(|folder| installation(&folder))
        .collect();
    let Some((version, data)) = existing else {
        return all.into_iter().next().ok_or(DevstackError::NoPostgres);
    };
    if all.is_empty() {
        return Err(DevstackError::NoPostgres);
    }
    let fitting = all
        .into_iter()
        .find(|binaries| version_of(&binaries.postgres).as_deref() == Some(version));
    fitting.ok_or_else(|| DevstackError::WrongVersion {
        data,
        version: version.to_owned(),
    })
}

/// The Redis or Valkey to use: `REDIS_BIN` (a program or its folder) if set, else the first in PATH and common folders.
pub(super) fn redis() -> Result<PathBuf, DevstackError> {
    let named = setting("REDIS_BIN");
    if let Some(program) = named.clone().filter(|path| path.is_file()) {
        return Ok(program);
    }
    let folders = match named {
        Some(folder) => vec![folder],
        None => in_path()
            .into_iter()
            .chain(REDIS_FOLDERS.map(PathBuf::from))
            .collect(),
    };
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| {
            folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|program| program.is_file())
        })
        .ok_or(DevstackError::NoRedis)
}

/// Folders that may contain PostgreSQL, best first.
fn folders() -> Vec<PathBuf> {
    if let Some(named) = setting("PG_BIN") {
        return vec![named];
    }
    let mut folders = Vec::from_iter(from_pg_config());
    folders.extend(VERSIONED.iter().flat_map(versions));
    folders.extend(in_path());
    folders
}

/// An empty variable counts as unset.
fn setting(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn installation(folder: &Path) -> Option<PostgresBinaries> {
    let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
    (initdb.is_file() && postgres.is_file()).then_some(PostgresBinaries { initdb, postgres })
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The versions in one folder, newest first.
fn versions((place, prefix, programs): &(&str, &str, &str)) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(place)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .split('.')
                .next()?
                .parse()
                .ok()?;
            Some((version, entry.path().join(programs)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn in_path() -> Vec<PathBuf> {
    env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// The major version, `15` of `postgres (PostgreSQL) 15.4 (Debian 15.4-1)`.
fn version_of(postgres: &Path) -> Option<String> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(2)?.split('.').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_sorted_as_numbers_and_other_names_ignored() {
        let place = tempfile::tempdir().unwrap();
        for name in [
            "postgresql@9.6",
            "postgresql@17",
            "postgresql@15",
            "postgresql",
            "postgresql@x",
            "redis",
        ] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        let found = versions(&(place.path().to_str().unwrap(), "postgresql@", "bin"));
        let expected =
            ["17", "15", "9.6"].map(|version| place.path().join(format!("postgresql@{version}/bin")));
        assert_eq!(found, expected);
    }
}
