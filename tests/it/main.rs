//! The one integration test binary.

mod queue;
mod support;
