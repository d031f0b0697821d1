//! SQLite: a table, written in transactions.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use rusqlite::{Connection, TransactionBehavior};

use super::embedded::{Append, Engine};

/// One connection for all threads: SQLite lets one write at a time anyway, and a lock wastes less than retrying.
pub struct Sqlite(Mutex<Connection>);

impl Engine for Sqlite {
    fn version() -> String {
        rusqlite::version().to_owned()
    }

    fn open(dir: &Path) -> Result<Sqlite> {
        let connection = Connection::open(dir.join("queue.db"))?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        ensure!(mode == "wal", "the journal is {mode}");
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE queue (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")?;
        Ok(Sqlite(Mutex::new(connection)))
    }

    fn appender<'a>(&'a self, _: u64, payload: &'a [u8]) -> Append<'a> {
        Box::new(move |count| {
            let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut insert = transaction.prepare_cached("INSERT INTO queue (payload) VALUES (?1)")?;
            for _ in 0..count {
                insert.execute([payload])?;
            }
            drop(insert);
            transaction.commit()?;
            Ok(())
        })
    }
}
