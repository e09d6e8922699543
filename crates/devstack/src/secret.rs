//! The secret of a development server, kept beside its data: what it signs is good after a restart too.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{DevstackError, doing, home};

/// The secret below `dir`, which `make` makes if there is none. Nobody but us may read it. Of several processes, the first to
/// lock the file makes it.
///
/// # Errors
/// When it can be neither read nor written.
pub fn kept_secret(dir: &Path, make: impl FnOnce() -> String) -> Result<String, DevstackError> {
    home::make_open_folder(dir)?;
    let file = file(dir);
    let kept = || {
        let mut opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)?;
        opened.lock()?;
        let mut secret = String::new();
        opened.read_to_string(&mut secret)?;
        if secret.is_empty() {
            secret = make();
            opened.write_all(secret.as_bytes())?;
        }
        Ok(secret)
    };
    kept().map_err(doing(format!("read or write {}", file.display())))
}

/// Forgets it. That there is none is no error.
pub(super) fn forget(dir: &Path) -> Result<(), DevstackError> {
    let file = file(dir);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(doing(format!("remove {}", file.display()))(error))
        }
        _ => Ok(()),
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("secret_key")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, thread};

    use super::*;

    #[test]
    fn secret_is_made_once_with_mode_0600_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join(".afforo");
        assert_eq!(kept_secret(&dir, || "first".into()).unwrap(), "first");
        assert_eq!(kept_secret(&dir, || "second".into()).unwrap(), "first");
        let mode = fs::metadata(file(&dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(file(&dir), "").unwrap();
        assert_eq!(kept_secret(&dir, || "again".into()).unwrap(), "again");
        forget(&dir).unwrap();
        forget(&dir).unwrap();
        assert_eq!(kept_secret(&dir, || "third".into()).unwrap(), "third");
    }

    #[test]
    fn concurrent_first_starts_share_one_secret() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let kept = |name: &str| kept_secret(folder.path(), || name.repeat(50)).unwrap();
            let all: Vec<String> = thread::scope(|scope| {
                let starts = ["a", "b", "c", "d"].map(|name| scope.spawn(move || kept(name)));
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            assert!(all.iter().all(|secret| *secret == all[0]), "{all:?}");
        }
    }
}
