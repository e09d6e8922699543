//! Connections that were good once: PostgreSQL takes no writes by them any more, or not what was prepared before a migration;
//! Redis has become a replica.

mod connections;
mod redis;
mod standby;
