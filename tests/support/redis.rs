//! A Redis of a test's own, to be tormented.

use std::{ops::Deref, path::PathBuf};

use afforo::devstack::{Redis, Server};

/// A throwaway Redis on a Unix socket; it ends with the test.
pub struct RedisServer(Redis);

impl RedisServer {
    pub fn start() -> Self {
        Self(Redis::throwaway().expect("a throwaway Redis starts"))
    }

    pub fn url(&self, db: u32) -> String {
        self.0.url(db)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.socket_dir().join("redis.sock")
    }

    /// Ends it if it runs, and starts it again, empty, at the same address.
    pub fn restart(&self) {
        self.0.restart().expect("Redis starts again");
    }
}

impl Deref for RedisServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}
