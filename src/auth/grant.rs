//! Permissions: actor, scopes and stores.

use std::sync::Arc;

use super::Scopes;
use crate::audit::Actor;

/// A set of stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stores {
    /// All stores, including future ones, and records without a store.
    All,
    /// Only these stores.
    Only(Arc<[i64]>),
}

impl Stores {
    /// Reads the column: null means all.
    pub fn of_column(stores: Option<Vec<i64>>) -> Self {
        stores.map_or(Self::All, |stores| Self::Only(stores.into()))
    }

    /// The value of the column.
    pub fn as_sql_param(&self) -> Option<Vec<i64>> {
        match self {
            Self::All => None,
            Self::Only(stores) => Some(stores.to_vec()),
        }
    }

    /// Whether it includes all stores.
    pub fn are_all(&self) -> bool {
        *self == Self::All
    }

    /// Whether `store` is among them.
    pub fn contains(&self, store: i64) -> bool {
        match self {
            Self::All => true,
            Self::Only(stores) => stores.contains(&store),
        }
    }

    /// Those of them that a filter asks for: `None` for all stores there are.
    pub fn intersect(&self, wanted: Option<i64>) -> Option<Vec<i64>> {
        match wanted {
            Some(store) if self.contains(store) => Some(vec![store]),
            Some(_) => Some(Vec::new()),
            None => self.as_sql_param(),
        }
    }
}

/// Permissions: actor, scopes and stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The actor.
    pub actor: Actor,
    /// The scopes.
    pub scopes: Scopes,
    /// The stores.
    pub stores: Stores,
}

impl Grant {
    /// The grant of all clients while the API is open.
    pub fn open() -> Self {
        Self {
            actor: Actor::Anyone,
            scopes: Scopes::ALL,
            stores: Stores::All,
        }
    }
}
