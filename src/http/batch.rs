//! Requests with many items.

use super::{Fields, one_of};

/// The most items of a request.
pub const MOST_ITEMS: usize = 1000;

/// What is written if an item fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMode {
    /// Nothing.
    AllOrNothing,
    /// The other items.
    PerItem,
}

impl BatchMode {
    /// Reads the field `mode`: all or nothing, unless the client chose.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let modes = [
            ("all_or_nothing", Self::AllOrNothing),
            ("per_item", Self::PerItem),
        ];
        fields
            .optional("mode", one_of(modes))
            .unwrap_or(Self::AllOrNothing)
    }
}
