//! Pooled connections after a change of the server: a read-only PostgreSQL, statements prepared before a migration, and a
//! Redis that has become a replica.

mod connections;
mod hosts;
mod redis;
mod replicas;
mod standby;
