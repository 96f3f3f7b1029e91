//! The ledger in one SQLite file. It keeps the highest record of each id: an older one is never needed, and could only be mistaken for it.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::Ledger;
use crate::backend::{BackendError, Result, Stored};

/// `PRAGMA application_id`: this file is a ledger, and nothing else.
const APPLICATION: i64 = 0x4d48_534d;
/// `PRAGMA user_version`: how the tables look.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE record (id TEXT PRIMARY KEY, generation INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE seen (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL) STRICT;
    INSERT INTO seen VALUES (1, 0);";

/// Why a ledger was not opened. Each sentence names the way out.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the ledger {0} was written by a newer version of this program (schema {1}, this one knows {VERSION}): run that version again"
    )]
    Newer(String, i64),
    #[error("{0} is a database, but not a ledger: name another folder, or put the ledger back")]
    Foreign(String),
    #[error("the ledger {0} is damaged ({1}): put it back from a backup")]
    Damaged(String, String),
    #[error(
        "the ledger {0} cannot be opened ({1}): give it to the user that the operator runs as, or put it back from a backup"
    )]
    Sqlite(String, rusqlite::Error),
}

/// One open ledger. Whoever opens it holds the store's lock.
pub struct SqliteLedger {
    connection: Mutex<Connection>,
}

impl SqliteLedger {
    /// Opens the file, or makes a new one.
    pub fn open(path: &Path) -> std::result::Result<SqliteLedger, LedgerError> {
        let name = path.display().to_string();
        let opened = Connection::open(path).and_then(|it| {
            settle(&it)?;
            Ok(it)
        });
        let mut connection = opened.map_err(|it| LedgerError::Sqlite(name.clone(), it))?;
        prepare(&mut connection, &name)?;
        Ok(SqliteLedger {
            connection: Mutex::new(connection),
        })
    }

    /// Looks into a file that is there, and makes nothing: its records, if it is a whole ledger.
    pub fn look(path: &Path) -> std::result::Result<Vec<Stored>, LedgerError> {
        let name = path.display().to_string();
        let sqlite = |it| LedgerError::Sqlite(name.clone(), it);
        // Not read-only: a transaction that a crash left half done is rolled back by this.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|it| it.pragma_update(None, "trusted_schema", false).map(|()| it))
            .map_err(sqlite)?;
        judge(&connection, &name)?;
        let ledger = SqliteLedger {
            connection: Mutex::new(connection),
        };
        let damaged = |it: BackendError| LedgerError::Damaged(name.clone(), it.to_string());
        ledger.records().map_err(damaged)
    }

    /// A panic in another thread left no transaction behind: they roll back when dropped.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` in a transaction that holds the write lock from its start. An error leaves all as it was.
    fn change<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(away)?;
        let changed = change(&transaction)?;
        transaction.commit().map_err(away)?;
        Ok(changed)
    }
}

impl Ledger for SqliteLedger {
    fn records(&self) -> Result<Vec<Stored>> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, generation, bytes FROM record ORDER BY id")
            .map_err(away)?;
        let rows = statement.query_map([], stored).map_err(away)?;
        rows.collect::<rusqlite::Result<_>>().map_err(away)
    }

    fn read(&self, id: &str) -> Result<Vec<Stored>> {
        Ok(highest(&self.connection(), id)?.into_iter().collect())
    }

    /// Compare and swap in one transaction.
    fn write(&self, new: &Stored) -> Result<()> {
        self.change(|transaction| {
            let old = highest(transaction, &new.id)?;
            if old.as_ref() == Some(new) {
                return Ok(());
            }
            if new.generation == 0 || old.map_or(0, |it| it.generation) != new.generation - 1 {
                return Err(BackendError::Superseded);
            }
            put(transaction, new)
        })
    }

    /// Only where there is none.
    fn restore(&self, lost: &Stored) -> Result<()> {
        self.change(|transaction| match highest(transaction, &lost.id)? {
            None if lost.generation > 0 => put(transaction, lost),
            Some(old) if old == *lost => Ok(()),
            Some(_) | None => Err(BackendError::Superseded),
        })
    }

    /// `Superseded` if another generation is the highest.
    fn forget(&self, id: &str, generation: u64) -> Result<()> {
        self.change(|transaction| match highest(transaction, id)? {
            None => Ok(()),
            Some(old) if old.generation != generation => Err(BackendError::Superseded),
            Some(_) => {
                transaction
                    .execute("DELETE FROM record WHERE id = ?1", [id])
                    .map_err(away)?;
                Ok(())
            }
        })
    }

    fn revision(&self) -> Result<u64> {
        let revision: i64 = self
            .connection()
            .query_row("SELECT revision FROM seen", [], |row| row.get(0))
            .map_err(away)?;
        Ok(revision.unsigned_abs())
    }

    fn note_revision(&self, revision: u64) -> Result<()> {
        self.change(|transaction| {
            let revision = number(revision).map_err(away)?;
            transaction
                .execute("UPDATE seen SET revision = max(revision, ?1)", [revision])
                .map_err(away)?;
            Ok(())
        })
    }
}

/// A rollback journal rather than a WAL: all that was committed is in the one file, so that a copy of it is whole. EXTRA is FULL, and the
/// journal's end is on disk before a commit is answered.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "EXTRA")
}

/// Makes the tables of a new file, or judges an old one.
fn prepare(connection: &mut Connection, name: &str) -> std::result::Result<(), LedgerError> {
    let sqlite = |it| LedgerError::Sqlite(name.to_owned(), it);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    if tables == 0 && numbers(&transaction).map_err(sqlite)? == (0, 0) {
        transaction.execute_batch(TABLES).map_err(sqlite)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(sqlite)?;
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(sqlite)?;
    } else {
        judge(&transaction, name)?;
    }
    transaction.commit().map_err(sqlite)
}

/// Whether it is a ledger, one that this program knows, and whole.
fn judge(connection: &Connection, name: &str) -> std::result::Result<(), LedgerError> {
    let sqlite = |it| LedgerError::Sqlite(name.to_owned(), it);
    let (application, version) = numbers(connection).map_err(sqlite)?;
    if application != APPLICATION {
        return Err(LedgerError::Foreign(name.to_owned()));
    }
    if version > VERSION {
        return Err(LedgerError::Newer(name.to_owned(), version));
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite)?;
    if found != "ok" {
        return Err(LedgerError::Damaged(name.to_owned(), found));
    }
    Ok(())
}

/// Whose file it says that it is, and of which version.
fn numbers(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let pragma =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn put(transaction: &Transaction<'_>, new: &Stored) -> Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO record (id, generation, bytes) VALUES (?1, ?2, ?3)")
        .and_then(|mut it| it.execute(params![new.id, number(new.generation)?, new.bytes]))
        .map_err(away)?;
    Ok(())
}

fn highest(connection: &Connection, id: &str) -> Result<Option<Stored>> {
    connection
        .prepare_cached("SELECT id, generation, bytes FROM record WHERE id = ?1")
        .and_then(|mut it| it.query_row([id], stored).optional())
        .map_err(away)
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    let generation: i64 = row.get(1)?;
    Ok(Stored {
        id: row.get(0)?,
        generation: generation.unsigned_abs(),
        bytes: row.get(2)?,
    })
}

/// SQLite's integers are signed.
fn number(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|it| rusqlite::Error::ToSqlConversionFailure(it.into()))
}

/// Whatever SQLite says, the write may be there or not.
fn away(error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            BackendError::Full(format!("the ledger's disk: {error}"))
        }
        _ => BackendError::Unavailable(format!("the ledger: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, generation: u64, bytes: &[u8]) -> Stored {
        Stored {
            id: id.to_owned(),
            generation,
            bytes: bytes.to_vec(),
        }
    }

    fn fresh() -> (tempfile::TempDir, SqliteLedger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        (folder, ledger)
    }

    #[test]
    fn a_write_follows_the_highest_record_or_is_superseded() {
        let (_folder, ledger) = fresh();
        assert_eq!(
            ledger.write(&record("a", 2, b"x")),
            Err(BackendError::Superseded)
        );
        ledger.write(&record("a", 1, b"x")).unwrap();
        ledger.write(&record("a", 1, b"x")).unwrap();
        assert_eq!(
            ledger.write(&record("a", 1, b"y")),
            Err(BackendError::Superseded)
        );
        ledger.write(&record("a", 2, b"y")).unwrap();
        assert_eq!(
            ledger.write(&record("a", 1, b"x")),
            Err(BackendError::Superseded)
        );
        assert_eq!(
            ledger.write(&record("a", 0, b"")),
            Err(BackendError::Superseded)
        );
        assert_eq!(ledger.read("a"), Ok(vec![record("a", 2, b"y")]));
        assert_eq!(ledger.records(), Ok(vec![record("a", 2, b"y")]));
    }

    #[test]
    fn only_the_highest_generation_can_be_forgotten() {
        let (_folder, ledger) = fresh();
        ledger.write(&record("a", 1, b"x")).unwrap();
        assert_eq!(ledger.forget("a", 2), Err(BackendError::Superseded));
        assert_eq!(ledger.forget("a", 1), Ok(()));
        assert_eq!(ledger.forget("a", 1), Ok(()));
        assert_eq!(ledger.read("a"), Ok(vec![]));
    }

    #[test]
    fn all_is_there_after_a_restart_and_the_revision_never_falls() {
        let (folder, ledger) = fresh();
        ledger.write(&record("a", 1, b"x")).unwrap();
        ledger.note_revision(7).unwrap();
        ledger.note_revision(5).unwrap();
        drop(ledger);
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        assert_eq!(ledger.revision(), Ok(7));
        assert_eq!(ledger.records(), Ok(vec![record("a", 1, b"x")]));
    }

    #[test]
    fn of_two_who_write_the_same_generation_one_is_superseded() {
        let (folder, ledger) = fresh();
        let other = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let outcomes = [
            ledger.write(&record("a", 1, b"x")),
            other.write(&record("a", 1, b"y")),
        ];
        assert_eq!(outcomes, [Ok(()), Err(BackendError::Superseded)]);
    }

    #[test]
    fn a_newer_ledger_is_refused_with_a_sentence() {
        let (folder, ledger) = fresh();
        ledger
            .connection()
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        drop(ledger);
        let refused = SqliteLedger::open(&folder.path().join("ledger.db"))
            .err()
            .unwrap();
        assert!(matches!(refused, LedgerError::Newer(..)), "{refused}");
        assert!(refused.to_string().contains("run that version again"));
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (x)")
            .unwrap();
        assert!(matches!(
            SqliteLedger::open(&path),
            Err(LedgerError::Foreign(_))
        ));
    }
}
