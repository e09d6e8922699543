//! The folder of a server: data, log, lock, sockets and account.

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{DevstackError, account::Account, doing, lock};

/// Holds data when the account of the servers cannot enter the requested folder.
const FALLBACK_DIR: &str = "/var/lib/afforo";

/// A socket path has at most about 100 bytes, and up to 35 follow the base.
const LONGEST_BASE: usize = 60;

/// The folder of a server, locked by this process.
///
/// It holds `owner` (the lock), `log` and `data`. Only the account may enter it.
#[derive(Debug)]
pub(super) struct DataDir {
    /// `postgres` or `redis`.
    pub(super) server: &'static str,
    /// The canonical path of the folder.
    pub(super) folder: PathBuf,
    /// The folder of the sockets: a short path.
    pub(super) sockets: PathBuf,
    /// The folder that is removed when the server ends.
    pub(super) cleanup_dir: PathBuf,
    /// The account that runs the server.
    pub(super) account: Account,
    /// The lock. The supervisor inherits it.
    pub(super) lock: File,
}

impl DataDir {
    /// A fresh folder that is removed with the server.
    pub(super) fn throwaway(server: &'static str) -> Result<Self, DevstackError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let account = Account::for_new_data()?;
        let base = match &account {
            Account::Current => Some(env::temp_dir()).filter(|base| base.as_os_str().len() <= LONGEST_BASE),
            Account::Dropped { .. } => None,
        };
        let base = base.unwrap_or_else(|| PathBuf::from("/tmp"));
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = base.join(format!("afforo-{server}-{}-{count}", process::id()));
            match DirBuilder::new().mode(0o700).create(&folder) {
                // Process ids are reused, and an earlier process may have been killed together with its supervisor.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(doing(format!("make the folder {}", folder.display())))?,
            }
            let lock = lock::take(&folder, server)?;
            account.own(&folder)?;
            let (sockets, cleanup_dir) = (folder.clone(), folder.clone());
            return Ok(Self {
                server,
                folder,
                sockets,
                cleanup_dir,
                account,
                lock,
            });
        }
    }

    /// The folder of `server` below `dir`, created if it is missing.
    pub(super) fn persistent(dir: &Path, server: &'static str) -> Result<Self, DevstackError> {
        make_open_folder(dir)?;
        let dir = dir
            .canonicalize()
            .map_err(doing(format!("find {}", dir.display())))?;
        let folder = find_or_create(&dir, server)?;
        let account = Account::for_data_in(&folder)?;
        account.own(&folder)?;
        if !account.can_enter(&folder).map_err(doing("run /bin/sh"))? {
            return Err(DevstackError::ClosedFolder {
                account: account.name().to_owned(),
                folder,
            });
        }
        let lock = lock::take(&folder, server)?;
        let sockets = fresh_socket_folder(&folder, &account)?;
        Ok(Self {
            server,
            folder,
            cleanup_dir: sockets.clone(),
            sockets,
            account,
            lock,
        })
    }

    /// The folder of the server's data files.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The file that receives the server's output.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for DataDir {
    /// Needed only if the supervisor never started or was killed.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.cleanup_dir);
        // A process that another thread has just forked shares the lock until it calls `exec`.
        let _ = self.lock.unlock();
    }
}

/// Existing data, locked for removal.
#[derive(Debug)]
pub(super) struct ExistingData {
    link: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl ExistingData {
    /// The data of `server` below `dir`, if it exists.
    pub(super) fn find(dir: &Path, server: &'static str) -> Result<Option<Self>, DevstackError> {
        let link = dir.join(server);
        match link.canonicalize() {
            Ok(folder) => Ok(Some(Self {
                _lock: lock::take(&folder, server)?,
                link,
                folder,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(doing(format!("find {}", link.display()))(error)),
        }
    }

    /// Removes the data, and the link to it if there is one.
    pub(super) fn remove(self) -> Result<(), DevstackError> {
        fs::remove_dir_all(&self.folder).map_err(doing(format!("remove {}", self.folder.display())))?;
        if self.link.is_symlink() {
            fs::remove_file(&self.link).map_err(doing(format!("remove {}", self.link.display())))?;
            // Succeeds for the server that is removed last.
            let _ = self
                .folder
                .parent()
                .filter(|holder| holder.starts_with(FALLBACK_DIR))
                .map(fs::remove_dir);
        }
        Ok(())
    }
}

/// Finds or creates `<dir>/<server>`. Where the account cannot enter `dir`, it is a link to the fallback folder.
fn find_or_create(dir: &Path, server: &str) -> Result<PathBuf, DevstackError> {
    let near = dir.join(server);
    if near.exists() {
        return near
            .canonicalize()
            .map_err(doing(format!("find {}", near.display())));
    }
    let account = Account::for_new_data()?;
    let folder = match fs::read_link(&near) {
        // The link exists, but its target was removed.
        Ok(far) => far,
        Err(_) if account.can_enter(dir).map_err(doing("run /bin/sh"))? => near,
        Err(_) => {
            let far = Path::new(FALLBACK_DIR).join(hash(dir)).join(server);
            symlink(&far, &near).map_err(doing(format!("link {} to {}", near.display(), far.display())))?;
            far
        }
    };
    if let Some(holder) = folder.parent().filter(|holder| *holder != dir) {
        make_open_folder(Path::new(FALLBACK_DIR))?;
        make_open_folder(holder)?;
    }
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => account.own(&folder)?,
        // A concurrent start created it. The lock decides between them.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(doing(format!("make the folder {}", folder.display()))(error)),
    }
    folder
        .canonicalize()
        .map_err(doing(format!("find {}", folder.display())))
}

/// Creates a folder with mode 0755 for any umask. An existing folder stays as it is.
pub(super) fn make_open_folder(folder: &Path) -> Result<(), DevstackError> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .map_err(doing(format!("make the folder {}", folder.display())))
}

/// The socket folder depends only on the data folder, so that URLs stay valid. `/tmp` is shared, so a folder of another
/// account is refused.
fn fresh_socket_folder(data: &Path, account: &Account) -> Result<PathBuf, DevstackError> {
    let folder = PathBuf::from(format!("/tmp/afforo-{}-{}", account.uid(), hash(data)));
    if let Ok(old) = fs::symlink_metadata(&folder) {
        let ours = [account.uid(), rustix::process::geteuid().as_raw()].contains(&old.uid());
        if !old.is_dir() || !ours {
            return Err(DevstackError::ForeignFolder(folder));
        }
        // This process holds the lock, so old contents are stale.
        fs::remove_dir_all(&folder).map_err(doing(format!("remove {}", folder.display())))?;
    }
    let made = DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(doing(format!("make the folder {}", folder.display())))?;
    account.own(&folder)?;
    Ok(folder)
}

/// FNV-1a: the hash must not depend on the version of the compiler.
fn hash(path: &Path) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}
