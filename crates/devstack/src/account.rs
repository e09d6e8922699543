//! The unprivileged account that the servers run as when we are root.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use super::{DevstackError, doing};

/// The accounts that we drop to, best first. macOS keeps PostgreSQL's under `_postgres`.
const CANDIDATES: [&str; 4] = ["postgres", "_postgres", "redis", "nobody"];

/// Who runs the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// We are an ordinary user, and so are the servers.
    Ourselves,
    /// We are root, and they are somebody else.
    Dropped { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// The account for data that do not exist yet.
    pub(super) fn for_new_data() -> Result<Self, DevstackError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(doing("read /etc/passwd"))?;
        CANDIDATES
            .iter()
            .find_map(|name| in_passwd(&passwd, name))
            .ok_or(DevstackError::NoAccount)
    }

    /// The account for data that exist: as root it is their owner, so that a clone works for root and for its
    /// user alike.
    pub(super) fn for_data_in(folder: &Path) -> Result<Self, DevstackError> {
        let owner = fs::metadata(folder).map_err(doing(format!("look at {}", folder.display())))?;
        match Self::for_new_data()? {
            Self::Ourselves if owner.uid() != rustix::process::geteuid().as_raw() => {
                Err(DevstackError::ForeignFolder(folder.to_owned()))
            }
            Self::Dropped { .. } if owner.uid() != 0 => Ok(Self::Dropped {
                name: format!("uid {}", owner.uid()),
                uid: owner.uid(),
                gid: owner.gid(),
            }),
            new => Ok(new),
        }
    }

    /// Makes `command` run as this account.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Self::Dropped { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Hands a file or folder that we made to this account.
    pub(super) fn own(&self, path: &Path) -> Result<(), DevstackError> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Dropped { uid, gid, name } => chown(path, Some(*uid), Some(*gid))
                .map_err(doing(format!("give {} to {name}", path.display()))),
        }
    }

    /// Whether the account may enter `folder`. It is tried and not computed, so that access lists count too.
    pub(super) fn can_enter(&self, folder: &Path) -> io::Result<bool> {
        let mut cd = Command::new("/bin/sh");
        cd.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/");
        cd.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.apply(&mut cd);
        Ok(cd.status()?.success())
    }

    /// The user id that the servers have.
    pub(super) fn uid(&self) -> u32 {
        match self {
            Self::Ourselves => rustix::process::geteuid().as_raw(),
            Self::Dropped { uid, .. } => *uid,
        }
    }

    /// The account's name, for messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Ourselves => "this user",
            Self::Dropped { name, .. } => name,
        }
    }
}

fn in_passwd(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map(id);
    Some(Account::Dropped {
        name: name.to_owned(),
        uid: ids.next()??,
        gid: ids.next()??,
    })
}

/// macOS writes the ids of `nobody` as -2; the system's own are unsigned.
fn id(text: &str) -> Option<u32> {
    text.parse::<u32>()
        .ok()
        .or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_passwd_and_negative_ones_wrap() {
        let passwd = "# macOS\nnobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n\
                      postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let dropped = |name: &str, uid, gid| {
            Some(Account::Dropped {
                name: name.to_owned(),
                uid,
                gid,
            })
        };
        assert_eq!(in_passwd(passwd, "postgres"), dropped("postgres", 101, 104));
        assert_eq!(
            in_passwd(passwd, "nobody"),
            dropped("nobody", 4_294_967_294, 4_294_967_294)
        );
        assert_eq!(in_passwd(passwd, "redis"), None);
    }
}
