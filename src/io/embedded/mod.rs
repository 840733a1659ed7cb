//! The embedded store: one fjall database under `data_dir/store` behind four doors: rows, queue, documents, ledger.
//!
//! Keeps W1 with `wal: sync` and J5: whatever a door acknowledges has been synced. All doors share one journal, so one
//! sync serves every batch that was committed before it (`EmbeddedStore::sync`).
//! Opening is refused when another process has the store open, or when it was written by a version we do not know.
//! Files: `store/format` says our version, `store/lock` is held while open, `store/fjall/` belongs to fjall.
//!
//! fjall refuses every write after one that failed, until it is opened again; a full disk would be such a failure.
//! Therefore nothing is begun while the disk has less than [`ROOM_BYTES_MIN`] left: such a write fails with `full`,
//! nothing was changed, and it passes once there is room.
//!
//! Knows nothing of rows, jobs or documents; those rooms pack their own values.

pub mod codec;
pub mod documents;
mod format;
mod job_format;
pub mod ledger;
mod names;
pub mod queue;
pub mod remembered;
mod row_format;
pub mod rows;

pub use documents::EmbeddedDocuments;
pub use ledger::EmbeddedLedger;
pub use queue::{EmbeddedQueue, overflow_shelf};
pub use remembered::RememberedDocuments;
pub use rows::EmbeddedRowStore;

use crate::domain::fault::{Fault, FaultKind};
use crate::io::locking;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What must be free on the disk before a write begins: what fjall may still write in the background.
pub const ROOM_BYTES_MIN: u64 = 128 << 20;

/// Tells how many bytes are free where the store lies; `None` when nobody knows.
pub type FreeBytes = Arc<dyn Fn(&Path) -> Option<u64> + Send + Sync>;

/// One open database. Doors hold it by `Arc`; the last one gone closes it.
pub struct EmbeddedStore {
    db: Database,
    rows: Keyspace,
    names: Keyspace,
    meta: Keyspace,
    jobs: Keyspace,
    overflow: Keyspace,
    documents: Keyspace,
    remembered: Keyspace,
    remembered_order: Keyspace,
    letters: Keyspace,
    notes: Keyspace,
    /// For messages: where it lies.
    place: String,
    path: std::path::PathBuf,
    free_bytes: FreeBytes,
    /// Batches committed, and how many of them are known to be synced.
    committed: AtomicU64,
    synced: Mutex<u64>,
    /// The first failure of a write; fjall takes none after it.
    broken: OnceLock<Fault>,
    /// Dropped last: the database must be closed before the next process may open it.
    _lock: File,
}

impl EmbeddedStore {
    /// The folder the store lies in.
    pub(super) fn data_dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Whether a node has made its store there.
    pub fn exists(data_dir: &Path) -> bool {
        data_dir.join("store").exists()
    }

    /// Removes the store that lies there, if there is one and nobody has it open.
    ///
    /// # Errors
    /// `incompatible` when another process has it open, and what the disk refuses.
    pub fn remove(data_dir: &Path) -> Result<(), Fault> {
        if !Self::exists(data_dir) {
            return Ok(());
        }
        let path = data_dir.join("store");
        let place = format!("embedded store in {}", path.display());
        let _held = lock(&path, &place)?;
        std::fs::remove_dir_all(&path).map_err(|e| io_fault(&place, &e))
    }

    /// Opens or creates the store of a node.
    ///
    /// # Errors
    /// `incompatible` when another process has it open or another version wrote it, `full`, `forbidden`, `corrupt`.
    pub fn open(data_dir: &Path) -> Result<Arc<Self>, Fault> {
        Self::open_with(data_dir, Arc::new(free_bytes_of_disk))
    }

    /// As [`EmbeddedStore::open`], with another word on the free space: tests script a full disk by it.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_with(data_dir: &Path, free_bytes: FreeBytes) -> Result<Arc<Self>, Fault> {
        let path = data_dir.join("store");
        let place = format!("embedded store in {}", path.display());
        std::fs::create_dir_all(&path).map_err(|e| io_fault(&place, &e))?;
        let lock = lock(&path, &place)?;
        let db_path = path.join("fjall");
        format::check(&path, &db_path, &place)?;
        let db = Database::builder(&db_path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .open()
            .map_err(|e| fjall_fault(&place, &e))?;
        let keyspace = |name: &str, memtable: u64| {
            db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(memtable))
                .map_err(|e| fjall_fault(&place, &e))
        };
        Ok(Arc::new(Self {
            rows: keyspace("rows", LARGE)?,
            names: keyspace("names", SMALL)?,
            meta: keyspace("meta", SMALL)?,
            jobs: keyspace("jobs", LARGE)?,
            overflow: keyspace("overflow", SMALL)?,
            documents: keyspace("documents", LARGE)?,
            remembered: keyspace("remembered", SMALL)?,
            remembered_order: keyspace("remembered_order", SMALL)?,
            letters: keyspace("letters", SMALL)?,
            notes: keyspace("notes", SMALL)?,
            db,
            place,
            path,
            free_bytes,
            committed: AtomicU64::new(0),
            synced: Mutex::new(0),
            broken: OnceLock::new(),
            _lock: lock,
        }))
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// Makes a batch visible, all or nothing. It is durable only after [`EmbeddedStore::sync`].
    fn commit(&self, batch: OwnedWriteBatch) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.check_room()?;
        batch.commit().map_err(|e| self.write_fault(&e))?;
        self.committed.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Every batch committed before this call is durable when it answers. Callers that come while another one syncs
    /// wait for it and mostly find their work done: that is the group commit.
    fn sync(&self) -> Result<(), Fault> {
        let mine = self.committed.load(Ordering::Acquire);
        let mut synced = self.synced.lock().unwrap_or_else(|e| e.into_inner());
        if *synced >= mine {
            return Ok(());
        }
        let through = self.committed.load(Ordering::Acquire);
        self.db.persist(PersistMode::SyncAll).map_err(|e| self.write_fault(&e))?;
        *synced = through;
        Ok(())
    }

    fn check_room(&self) -> Result<(), Fault> {
        match (self.free_bytes)(&self.path) {
            Some(free) if free < ROOM_BYTES_MIN => Err(Fault::new(
                FaultKind::Full,
                &self.place,
                format!(
                    "{} MiB are free on its disk, writes need {} MiB; free some space and they go on",
                    free >> 20,
                    ROOM_BYTES_MIN >> 20
                ),
            )),
            _ => Ok(()),
        }
    }

    fn write_fault(&self, error: &fjall::Error) -> Fault {
        let first = self.broken.get_or_init(|| fjall_fault(&self.place, error)).clone();
        let what = format!("a write failed and the store takes no more until the node is started again: {}", first.what);
        Fault { what, ..first }
    }

    fn read_fault(&self, error: &fjall::Error) -> Fault {
        fjall_fault(&self.place, error)
    }

    /// Stored bytes of one thing that cannot be read.
    fn corrupt(&self, thing: impl std::fmt::Display, what: codec::Malformed) -> Fault {
        Fault::new(FaultKind::Corrupt, format!("{thing} of the {}", self.place), what)
    }

    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<fjall::Slice>, Fault> {
        keyspace.get(key).map_err(|e| self.read_fault(&e))
    }
}

/// Blocks fjall keeps in memory.
const CACHE_BYTES: u64 = 64 << 20;
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Memtables: of what is written all the time, and of the rest.
const LARGE: u64 = 32 << 20;
const SMALL: u64 = 4 << 20;

fn lock(path: &Path, place: &str) -> Result<File, Fault> {
    let file =
        File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(|e| io_fault(place, &e))?;
    match locking::lock(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(open_elsewhere(place)),
        Err(e) => Err(io_fault(place, &e)),
    }
}

fn open_elsewhere(place: &str) -> Fault {
    let what = "another process has it open; ask that one through its admin address, stop it, or use another data_dir";
    Fault::new(FaultKind::Incompatible, place, what)
}

fn fjall_fault(place: &str, error: &fjall::Error) -> Fault {
    let kind = match error {
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => return io_fault(place, e),
        fjall::Error::Locked => return open_elsewhere(place),
        fjall::Error::InvalidVersion(_) => FaultKind::Incompatible,
        fjall::Error::Poisoned | fjall::Error::KeyspaceDeleted => FaultKind::Unreachable,
        _ => FaultKind::Corrupt,
    };
    Fault::new(kind, place, format!("{error:?}"))
}

fn io_fault(place: &str, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => FaultKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Forbidden,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => FaultKind::Corrupt,
        _ => FaultKind::Unreachable,
    };
    Fault::new(kind, place, error)
}

fn free_bytes_of_disk(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Runs work that blocks away from the actors' threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(e) if e.is_panic() => {
            Err(Fault::new(FaultKind::Panicked, "embedded store", "a request panicked; its outcome is unknown"))
        }
        Err(_) => Err(Fault::new(FaultKind::Unreachable, "embedded store", "the runtime is stopping")),
    }
}

#[cfg(test)]
mod tests;
