//! The stock ledger, and the sequence in which stock rows are locked.
//!
//! Every change of a quantity inserts one row into `stock_movement` in the same transaction: the sum of a stock row's movements
//! is its quantity. Every transaction that changes or deletes stock rows locks them first, in the global lock order
//! `(store_id, product_id)`, so that no two transactions deadlock. `docs/ARCHITECTURE.md` has the order of all locks.
//!
//! The time of a movement is the start of the statement that writes it, or the row's `updated_at` if that is later. So per
//! stock row, ids rise strictly and times never fall. The statement starts after the lock; the transaction may have started
//! before another one that held the lock.

mod change;
mod refusal;
mod reserved;
mod rows;
mod scope;

pub use change::{Change, KINDS, Movement, ReasonCode, Recorded, free_excess, write};
pub use refusal::{Refusal, RefusalCode};
pub use reserved::{Freed, free_expired};
pub use rows::{RowKey, StockRow, create_rows, lock_rows, remove_rows};
pub use scope::{StockScope, lock, lock_products, remove};
