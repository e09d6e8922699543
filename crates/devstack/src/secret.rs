//! The secret of a development server, stored beside its data so that signatures survive a restart.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{DevstackError, data_dir, doing};

/// Reads the secret below `dir`, or creates it with `make`. The file has mode 0600. The first process to lock it creates
/// the secret.
///
/// # Errors
/// If the file cannot be read or written.
pub fn load_or_create_secret(dir: &Path, make: impl FnOnce() -> String) -> Result<String, DevstackError> {
    data_dir::make_open_folder(dir)?;
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

/// Removes the secret. A missing file is not an error.
pub(super) fn remove(dir: &Path) -> Result<(), DevstackError> {
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
        assert_eq!(load_or_create_secret(&dir, || "first".into()).unwrap(), "first");
        assert_eq!(load_or_create_secret(&dir, || "second".into()).unwrap(), "first");
        let mode = fs::metadata(file(&dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(file(&dir), "").unwrap();
        assert_eq!(load_or_create_secret(&dir, || "again".into()).unwrap(), "again");
        remove(&dir).unwrap();
        remove(&dir).unwrap();
        assert_eq!(load_or_create_secret(&dir, || "third".into()).unwrap(), "third");
    }

    #[test]
    fn concurrent_first_starts_share_one_secret() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let kept = |name: &str| load_or_create_secret(folder.path(), || name.repeat(50)).unwrap();
            let all: Vec<String> = thread::scope(|scope| {
                let starts = ["a", "b", "c", "d"].map(|name| scope.spawn(move || kept(name)));
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            assert!(all.iter().all(|secret| *secret == all[0]), "{all:?}");
        }
    }
}
