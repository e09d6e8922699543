//! Long responses: a limit on how many run at a time, and a check that the operator may still read them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::PgPool;

use super::{operator::Operator, session::Visitor};
use crate::auth::{Grant, TokenHash, session};

/// A limit on streams that run at a time. Clones share the count.
#[derive(Clone, Debug)]
pub struct StreamLimit {
    in_all: usize,
    of_account: usize,
    taken: Arc<Mutex<HashMap<i64, usize>>>,
}

/// The permit of one stream, released when it is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    places: StreamLimit,
    account: i64,
}

impl StreamLimit {
    /// Allows `in_all` streams, of which one account has `of_account` at most.
    pub fn new(in_all: usize, of_account: usize) -> Self {
        Self {
            in_all,
            of_account,
            taken: Arc::default(),
        }
    }

    /// A permit, unless the limit is reached.
    pub fn take(&self, account: i64) -> Option<StreamPermit> {
        let mut taken = self.lock();
        let in_all: usize = taken.values().sum();
        let own = taken.get(&account).copied().unwrap_or(0);
        if in_all >= self.in_all || own >= self.of_account {
            return None;
        }
        taken.insert(account, own + 1);
        Some(StreamPermit {
            places: self.clone(),
            account,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

/// Checks that the session and the grant of an operator are as they were when the response began.
#[derive(Debug)]
pub struct StreamGuard {
    db: PgPool,
    session: Option<TokenHash>,
    grant: Arc<Grant>,
}

impl StreamGuard {
    /// The guard of a request.
    pub fn of(db: PgPool, Visitor(visitor): Visitor, operator: &Operator) -> Self {
        Self {
            db,
            session: visitor.token,
            grant: operator.caller.grant.clone(),
        }
    }

    /// Whether the session goes on, with the same grant.
    pub async fn holds(&self) -> sqlx::Result<bool> {
        let Some(session) = &self.session else {
            return Ok(false);
        };
        let account = session::account_of(&self.db, session).await?;
        Ok(account.is_some_and(|(account, _)| account.grant() == *self.grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_limited_in_total_and_per_account() {
        let places = StreamLimit::new(3, 2);
        let [one, two] = [1, 1].map(|account| places.take(account).unwrap());
        assert!(places.take(1).is_none());
        let three = places.take(2).unwrap();
        assert!(places.take(3).is_none());
        drop((one, three));
        assert!(places.take(3).is_some());
        drop(two);
        assert!(places.lock().is_empty());
    }
}
