//! A Redis that a test may stop, pause and restart.

use std::ops::Deref;

use devstack::Redis;
use redis::{Client, Value, cmd};

use super::{moving::MovingAddress, program::eventually};

/// A throwaway Redis on a Unix socket; it ends with the test.
pub struct RedisServer(Redis);

impl RedisServer {
    pub fn start() -> Self {
        Self(Redis::throwaway().expect("a throwaway Redis starts"))
    }

    /// Ends it if it runs, and starts it again, empty, at the same address.
    pub fn restart(&self) {
        self.0.restart().expect("Redis starts again");
    }
}

impl Deref for RedisServer {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.0
    }
}

/// Two servers: `new` is a replica of `old` until they change places.
pub struct RedisPair {
    pub old: RedisServer,
    pub new: RedisServer,
    /// The address by which each server reaches the other.
    pub ways: [MovingAddress; 2],
}

impl RedisPair {
    pub async fn start() -> Self {
        let (old, new) = (RedisServer::start(), RedisServer::start());
        let ways = [
            MovingAddress::of(old.socket()).await,
            MovingAddress::of(new.socket()).await,
        ];
        let pair = Self { old, new, ways };
        replicate(&pair.new, &pair.ways[0]).await;
        pair
    }

    /// Makes `new` the primary and `old` its replica. Connections stay open.
    pub async fn change_places(&self) {
        ask(&self.new, &["REPLICAOF", "NO", "ONE"]).await;
        replicate(&self.old, &self.ways[1]).await;
    }
}

async fn replicate(replica: &RedisServer, primary: &MovingAddress) {
    ask(replica, &["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).await;
    eventually("the replica follows", async || {
        let Value::BulkString(text) = ask(replica, &["INFO", "replication"]).await else {
            return false;
        };
        String::from_utf8_lossy(&text).contains("master_link_status:up")
    })
    .await;
}

async fn ask(server: &RedisServer, command: &[&str]) -> Value {
    let client = Client::open(server.url(0)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut asked = cmd(command[0]);
    asked
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
        .unwrap()
}
