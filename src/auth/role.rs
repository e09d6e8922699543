//! Roles of accounts.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{Scope, Scopes};

/// The role of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// All permissions, including accounts and keys.
    Superuser,
    /// Read and write, at the prices of the catalog.
    Staff,
    /// Read only.
    Viewer,
}

impl Role {
    /// All roles, most permissions first.
    pub const ALL: [Self; 3] = [Self::Superuser, Self::Staff, Self::Viewer];

    /// The name, such as `staff`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superuser => "superuser",
            Self::Staff => "staff",
            Self::Viewer => "viewer",
        }
    }

    /// The scopes of the role.
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Superuser => Scopes::ALL,
            Self::Staff => {
                let writes = [
                    Scope::CatalogWrite,
                    Scope::InventoryWrite,
                    Scope::OrdersWrite,
                    Scope::OrdersManage,
                ];
                Scopes::READ.iter().chain(writes).collect()
            }
            Self::Viewer => Scopes::READ,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An unknown role name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected superuser, staff or viewer")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or(NotARole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superuser_has_all_scopes_staff_writes_and_viewer_reads() {
        let may = |role: Role, scope| role.scopes().allow(scope);
        for scope in Scope::ALL {
            let read = [
                Scope::CatalogRead,
                Scope::InventoryRead,
                Scope::OrdersRead,
                Scope::Stats,
            ]
            .contains(&scope);
            assert!(may(Role::Superuser, scope));
            let of_superusers = [Scope::OrdersPrice, Scope::Admin].contains(&scope);
            assert_eq!(may(Role::Staff, scope), !of_superusers, "{scope}");
            assert_eq!(may(Role::Viewer, scope), read, "{scope}");
        }
    }
}
