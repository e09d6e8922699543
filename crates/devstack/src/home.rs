//! Where a server lives: its folder, its sockets, its account.

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

/// Takes in what is under a folder that the servers' account cannot enter.
const FAR: &str = "/var/lib/afforo";

/// The system allows about a hundred bytes for a socket's path; the longest name that follows has
/// thirty-five.
const LONGEST_BASE: usize = 60;

/// The folder of one server, locked for us.
///
/// It holds `owner` (the lock), `log` and `data`; nobody but the account may enter it.
#[derive(Debug)]
pub(super) struct Home {
    /// `postgres` or `redis`.
    pub(super) server: &'static str,
    /// The folder itself, without any link on the way.
    pub(super) folder: PathBuf,
    /// Where the server puts its sockets: a short path.
    pub(super) sockets: PathBuf,
    /// What goes away together with the server.
    pub(super) remains: PathBuf,
    /// Who runs the server.
    pub(super) account: Account,
    /// The lock, which the supervisor inherits.
    pub(super) lock: File,
}

impl Home {
    /// A fresh folder that goes away with the server.
    pub(super) fn throwaway(server: &'static str) -> Result<Self, DevstackError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let account = Account::for_new_data()?;
        let base = match &account {
            Account::Ourselves => Some(env::temp_dir()).filter(|base| base.as_os_str().len() <= LONGEST_BASE),
            Account::Dropped { .. } => None,
        };
        let base = base.unwrap_or_else(|| PathBuf::from("/tmp"));
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = base.join(format!("afforo-{server}-{}-{count}", process::id()));
            match DirBuilder::new().mode(0o700).create(&folder) {
                // The number of a process comes back one day, and the other one may have been killed with its
                // supervisor.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(doing(format!("make the folder {}", folder.display())))?,
            }
            let lock = lock::take(&folder, server)?;
            account.own(&folder)?;
            let (sockets, remains) = (folder.clone(), folder.clone());
            return Ok(Self {
                server,
                folder,
                sockets,
                remains,
                account,
                lock,
            });
        }
    }

    /// The folder of the data that `server` keeps below `dir`, made if need be.
    pub(super) fn persistent(dir: &Path, server: &'static str) -> Result<Self, DevstackError> {
        make_open_folder(dir)?;
        let dir = dir
            .canonicalize()
            .map_err(doing(format!("find {}", dir.display())))?;
        let folder = settle(&dir, server)?;
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
            remains: sockets.clone(),
            sockets,
            account,
            lock,
        })
    }

    /// Where the server keeps its files.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where the server's output goes.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Home {
    /// The supervisor has done this, unless it never started or was killed itself.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.remains);
        // The server has ended. A process that another thread has just forked holds on to the lock until it becomes another
        // program.
        let _ = self.lock.unlock();
    }
}

/// Data that exist, locked so that they can be removed.
#[derive(Debug)]
pub(super) struct Kept {
    link: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl Kept {
    /// What `server` keeps below `dir`, if anything.
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

    /// Removes the data, and the link to them if there is one.
    pub(super) fn remove(self) -> Result<(), DevstackError> {
        fs::remove_dir_all(&self.folder).map_err(doing(format!("remove {}", self.folder.display())))?;
        if self.link.is_symlink() {
            fs::remove_file(&self.link).map_err(doing(format!("remove {}", self.link.display())))?;
            // Whichever server is removed last takes the folder that held both along.
            let _ = self
                .folder
                .parent()
                .filter(|holder| holder.starts_with(FAR))
                .map(fs::remove_dir);
        }
        Ok(())
    }
}

/// Finds or makes the server's folder: `<dir>/<server>`, or behind a link of that name where the account
/// cannot enter `dir`.
fn settle(dir: &Path, server: &str) -> Result<PathBuf, DevstackError> {
    let near = dir.join(server);
    if near.exists() {
        return near
            .canonicalize()
            .map_err(doing(format!("find {}", near.display())));
    }
    let account = Account::for_new_data()?;
    let folder = match fs::read_link(&near) {
        // What the link leads to has been removed.
        Ok(far) => far,
        Err(_) if account.can_enter(dir).map_err(doing("run /bin/sh"))? => near,
        Err(_) => {
            let far = Path::new(FAR).join(hash(dir)).join(server);
            symlink(&far, &near).map_err(doing(format!("link {} to {}", near.display(), far.display())))?;
            far
        }
    };
    if let Some(holder) = folder.parent().filter(|holder| *holder != dir) {
        make_open_folder(Path::new(FAR))?;
        make_open_folder(holder)?;
    }
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => account.own(&folder)?,
        // Another start was quicker, and the lock will decide between us.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(doing(format!("make the folder {}", folder.display()))(error)),
    }
    folder
        .canonicalize()
        .map_err(doing(format!("find {}", folder.display())))
}

/// Makes a folder that everybody may enter, whatever our umask. One that exists stays as it is.
pub(super) fn make_open_folder(folder: &Path) -> Result<(), DevstackError> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
        .map_err(doing(format!("make the folder {}", folder.display())))
}

/// The same folder for the same data every time, so that a URL stays good. Others may write to `/tmp` too, so
/// whatever has that name and is not ours is refused.
fn fresh_socket_folder(data: &Path, account: &Account) -> Result<PathBuf, DevstackError> {
    let folder = PathBuf::from(format!("/tmp/afforo-{}-{}", account.uid(), hash(data)));
    if let Ok(old) = fs::symlink_metadata(&folder) {
        let ours = [account.uid(), rustix::process::geteuid().as_raw()].contains(&old.uid());
        if !old.is_dir() || !ours {
            return Err(DevstackError::ForeignFolder(folder));
        }
        // We hold the lock, so what is left in it is stale.
        fs::remove_dir_all(&folder).map_err(doing(format!("remove {}", folder.display())))?;
    }
    let made = DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(doing(format!("make the folder {}", folder.display())))?;
    account.own(&folder)?;
    Ok(folder)
}

/// FNV-1a, because the hash must be the same with every version of the compiler.
fn hash(path: &Path) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}
