//! The unprivileged account that runs the servers when the owner is root.

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

/// Candidate accounts, best first. macOS names PostgreSQL's account `_postgres`.
const CANDIDATES: [&str; 4] = ["postgres", "_postgres", "redis", "nobody"];

/// The account that runs the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// The owner is an ordinary user, who runs the servers too.
    Current,
    /// The owner is root, and drops to this account.
    Dropped { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// The account for new data.
    pub(super) fn for_new_data() -> Result<Self, DevstackError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Current);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(doing("read /etc/passwd"))?;
        CANDIDATES
            .iter()
            .find_map(|name| in_passwd(&passwd, name))
            .ok_or(DevstackError::NoAccount)
    }

    /// The account for existing data. For root it is the owner of the data, so that a clone works for root and its user.
    pub(super) fn for_data_in(folder: &Path) -> Result<Self, DevstackError> {
        let owner = fs::metadata(folder).map_err(doing(format!("look at {}", folder.display())))?;
        match Self::for_new_data()? {
            Self::Current if owner.uid() != rustix::process::geteuid().as_raw() => {
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

    /// Gives a file or folder to this account.
    pub(super) fn own(&self, path: &Path) -> Result<(), DevstackError> {
        match self {
            Self::Current => Ok(()),
            Self::Dropped { uid, gid, name } => chown(path, Some(*uid), Some(*gid))
                .map_err(doing(format!("give {} to {name}", path.display()))),
        }
    }

    /// Whether the account may enter `folder`. Tries it with a shell, so that access control lists count too.
    pub(super) fn can_enter(&self, folder: &Path) -> io::Result<bool> {
        let mut cd = Command::new("/bin/sh");
        cd.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/");
        cd.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.apply(&mut cd);
        Ok(cd.status()?.success())
    }

    /// The user id of the servers.
    pub(super) fn uid(&self) -> u32 {
        match self {
            Self::Current => rustix::process::geteuid().as_raw(),
            Self::Dropped { uid, .. } => *uid,
        }
    }

    /// The account's name, for messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Current => "this user",
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

/// macOS writes the ids of `nobody` as -2; ids are unsigned.
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
