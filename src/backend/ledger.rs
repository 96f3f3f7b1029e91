//! Where a backend keeps its records: one SQLite file ([`sqlite`]), or data objects in a token ([`shelf`]). The two answer alike.

pub mod shelf;
pub mod sqlite;

use super::{Result, Stored};

/// What [`super::HsmBackend`] promises of its records, under the same names.
pub trait Ledger: Send + Sync {
    fn records(&self) -> Result<Vec<Stored>>;
    fn read(&self, id: &str) -> Result<Vec<Stored>>;
    fn write(&self, stored: &Stored) -> Result<()>;
    fn restore(&self, stored: &Stored) -> Result<()>;
    fn forget(&self, id: &str, generation: u64) -> Result<()>;
    fn revision(&self) -> Result<u64>;
    fn note_revision(&self, revision: u64) -> Result<()>;
}
