//! What somebody has been granted.

use std::sync::Arc;

use super::Scopes;
use crate::audit::Actor;

/// Where one may do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stores {
    /// In every store, also in those that are yet to open, and with what belongs to no store.
    All,
    /// In these alone.
    Only(Arc<[i64]>),
}

impl Stores {
    /// Those of a column: null is all of them.
    #[must_use]
    pub fn of_column(stores: Option<Vec<i64>>) -> Self {
        stores.map_or(Self::All, |stores| Self::Only(stores.into()))
    }

    /// For a column.
    #[must_use]
    pub fn as_sql_param(&self) -> Option<Vec<i64>> {
        match self {
            Self::All => None,
            Self::Only(stores) => Some(stores.to_vec()),
        }
    }

    /// Whether all stores are among them.
    #[must_use]
    pub fn are_all(&self) -> bool {
        *self == Self::All
    }

    /// Whether `store` is among them.
    #[must_use]
    pub fn contains(&self, store: i64) -> bool {
        match self {
            Self::All => true,
            Self::Only(stores) => stores.contains(&store),
        }
    }

    /// Those of them that a filter asks for: `None` for all stores there are.
    #[must_use]
    pub fn intersect(&self, wanted: Option<i64>) -> Option<Vec<i64>> {
        match wanted {
            Some(store) if self.contains(store) => Some(vec![store]),
            Some(_) => Some(Vec::new()),
            None => self.as_sql_param(),
        }
    }
}

/// What somebody has been granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who that is.
    pub actor: Actor,
    /// What may be done.
    pub scopes: Scopes,
    /// Where.
    pub stores: Stores,
}

impl Grant {
    /// What anyone may do while the API is open: everything.
    #[must_use]
    pub fn open() -> Self {
        Self {
            actor: Actor::Anyone,
            scopes: Scopes::ALL,
            stores: Stores::All,
        }
    }
}
