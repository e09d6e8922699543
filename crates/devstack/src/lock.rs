//! One owner per server folder.
//!
//! The lock is on the file `owner`, which holds the owner's process id. Supervisor and server inherit the lock, so the
//! system releases it when all three have ended: never too early, and never stale.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use rustix::{fs::OFlags, process::Pid};

use super::{DevstackError, doing, processes};

/// How long a server may take to end after its owner.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// Takes the lock of `folder`. Waits while the server of a killed owner is being stopped.
///
/// # Errors
/// [`DevstackError::AlreadyRunning`] when the owner lives, [`DevstackError::StillStopping`] when waiting was
/// in vain.
pub(super) fn take(folder: &Path, server: &'static str) -> Result<File, DevstackError> {
    let path = folder.join("owner");
    let deadline = Instant::now() + STOP_TIMEOUT;
    loop {
        let mut file = open(&path).map_err(doing(format!("open {}", path.display())))?;
        match file.try_lock() {
            // A reset may have removed the file between opening and locking it.
            Ok(()) if !is_at(&file, &path) => continue,
            Ok(()) => {
                write_owner(&mut file, folder).map_err(doing(format!("write {}", path.display())))?;
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(doing(format!("lock {}", path.display()))(source));
            }
        }
        if let Some(pid) = owner(&mut file).filter(|pid| processes::is_alive(*pid)) {
            let (folder, pid) = (folder.to_owned(), pid.as_raw_nonzero().get());
            return Err(DevstackError::AlreadyRunning { server, folder, pid });
        }
        if Instant::now() > deadline {
            let (folder, seconds) = (folder.to_owned(), STOP_TIMEOUT.as_secs());
            return Err(DevstackError::StillStopping {
                server,
                folder,
                seconds,
            });
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this crate blocks; asynchronous callers use spawn_blocking"
        )]
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does not follow links: root opens a file in a folder of another account.
fn open(path: &Path) -> io::Result<File> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let theirs = fs::symlink_metadata(path).ok().map(id);
    theirs.is_some() && theirs == file.metadata().ok().map(id)
}

/// Writes the process id. The file belongs to the owner of the folder, who must be able to lock it later.
fn write_owner(file: &mut File, folder: &Path) -> io::Result<()> {
    let (ours, folder) = (file.metadata()?, fs::metadata(folder)?);
    if ours.uid() != folder.uid() {
        fchown(&*file, Some(folder.uid()), Some(folder.gid()))?;
    }
    file.set_len(0)?;
    writeln!(file, "{}", process::id())
}

fn owner(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}
