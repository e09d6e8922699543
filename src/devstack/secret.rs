//! The secret of a development server, kept beside its data: what it signs is good after a restart too.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{DevstackError, doing, home};

/// The secret below `dir`, which `make` makes if there is none. Nobody but us may read it.
///
/// # Errors
/// When it can be neither read nor written.
pub fn kept_secret(dir: &Path, make: impl FnOnce() -> String) -> Result<String, DevstackError> {
    home::make_open_folder(dir)?;
    let file = file(dir);
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file);
    match opened {
        Ok(mut opened) => {
            let secret = make();
            let written = opened.write_all(secret.as_bytes());
            written.map_err(doing(format!("write {}", file.display())))?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let kept = fs::read_to_string(&file).map_err(doing(format!("read {}", file.display())))?;
            if kept.is_empty() {
                // Whoever made it did not get to write it.
                forget(dir)?;
                return kept_secret(dir, make);
            }
            Ok(kept)
        }
        Err(error) => Err(doing(format!("make {}", file.display()))(error)),
    }
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_our_eyes_only_and_can_be_forgotten() {
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
}
