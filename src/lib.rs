//! Afforo: categories, products, stores, stock per store, and orders placed atomically against it.

pub mod queue;
