//! Who is measured. Each makes a batch of events durable by the strongest means it has, and returns when that is done.
//!
//! Left out, since they answer before anything is durable (seen with strace): sled, commitlog, yaque, simple_wal. Left out too: LMDB, whose
//! crates want `unsafe` to open a directory.

use crate::ours::{Futures, OurChannel, OurWal, Tickets};
use std::{
    hint::black_box,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// An answer, or what to say to who runs this.
pub(crate) type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Something that keeps events.
pub(crate) trait Peer: Sync {
    /// Makes `events` durable in one commit. Called by several committers at once.
    fn commit(&self, events: &[&[u8]]) -> Answer<()>;

    /// Commits by this one thread, `in_flight` of them on their way at once, until then: how long each took. Only of who
    /// [`Does::PutsAhead`].
    fn commit_ahead(&self, _: usize, _: &[&[u8]], _: Instant) -> Answer<Vec<u32>> {
        Err("each of its commits takes a thread".into())
    }

    /// Gives back what it holds, so that its files are used again. A peer that does so by itself, or cannot, does nothing here.
    fn forget(&self) -> Answer<()> {
        Ok(())
    }

    /// Somebody who takes events out of it; `None` if it is no queue.
    fn taker(&self) -> Option<Box<dyn Taker + '_>> {
        None
    }
}

/// Takes events for good, the oldest first.
pub(crate) trait Taker {
    /// Takes up to `events` in one commit, and waits up to `wait` if there are none. Answers how many it took.
    fn take(&mut self, events: u32, wait: Duration) -> Answer<u32>;

    /// Returns when all that was taken is durably gone.
    fn finish(&mut self) -> Answer<()> {
        Ok(())
    }
}

/// A peer that can be opened in an empty directory.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) does: Does,
    /// Another way to use us, which is measured where it is asked for.
    pub(crate) is_way: bool,
    pub(crate) open: Open,
}

/// What a peer is measured at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Puts,
    PutsAndTakes,
    /// Puts by one thread, with as many commits in flight as others have committers.
    PutsAhead,
    /// Takes with several commits in flight, so that a call says nothing of a commit's latency.
    TakesAhead,
}

impl Does {
    /// Whether a thread that commits is the way it is used.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::Puts | Self::PutsAndTakes)
    }
}

type Open = fn(&Path) -> Answer<Box<dyn Peer>>;

const fn entry(name: &'static str, does: Does, open: Open) -> Entry {
    Entry { name, does, is_way: false, open }
}

const fn way(name: &'static str, does: Does, open: Open) -> Entry {
    Entry { name, does, is_way: true, open }
}

/// All, ours first.
pub(crate) const PEERS: &[Entry] = &[
    entry("fchannel", Does::PutsAndTakes, |dir| Ok(Box::new(OurChannel::open(dir)?))),
    way("fchannel tickets", Does::PutsAhead, |dir| Ok(Box::new(Tickets(OurChannel::open(dir)?)))),
    way("fchannel futures", Does::PutsAhead, |dir| Ok(Box::new(Futures(OurChannel::open(dir)?)))),
    way("fchannel 2 dirs", Does::PutsAndTakes, |dir| Ok(Box::new(OurChannel::open_over(dir, 2)?))),
    way("fchannel 4 dirs", Does::PutsAndTakes, |dir| Ok(Box::new(OurChannel::open_over(dir, 4)?))),
    way("fchannel 1 MiB segments", Does::PutsAndTakes, |dir| {
        Ok(Box::new(OurChannel::open_in_segments_of(dir, 1 << 20)?))
    }),
    way("fchannel 16 MiB segments", Does::PutsAndTakes, |dir| {
        Ok(Box::new(OurChannel::open_in_segments_of(dir, 16 << 20)?))
    }),
    entry("fchannel 8 tickets", Does::TakesAhead, |dir| {
        Ok(Box::new(OurChannel::open(dir)?.taking_ahead(8)))
    }),
    entry("fchannel Wal", Does::Puts, |dir| Ok(Box::new(OurWal::open(dir)?))),
    entry("okaywal", Does::Puts, |dir| Ok(Box::new(OkayWal::open(dir)?))),
    entry("raft-engine", Does::Puts, |dir| Ok(Box::new(RaftEngine::open(dir)?))),
    #[cfg(feature = "rocksdb")]
    entry("rocksdb", Does::Puts, |dir| Ok(Box::new(RocksDb::open(dir)?))),
    entry("fjall", Does::Puts, |dir| Ok(Box::new(Fjall::open(dir)?))),
    entry("redb", Does::Puts, |dir| Ok(Box::new(Redb::open(dir)?))),
    entry("queue-file", Does::PutsAndTakes, |dir| Ok(Box::new(QueueFile::open(dir)?))),
];

/// Keys that rise: the cheapest order for a tree.
#[derive(Default)]
struct Keys(AtomicU64);

impl Keys {
    fn next(&self, count: usize) -> std::ops::Range<u64> {
        let first = self.0.fetch_add(count as u64, Ordering::Relaxed);
        first..first + count as u64
    }
}

/// An entry of a chunk for each event.
struct OkayWal(okaywal::WriteAheadLog);

impl OkayWal {
    fn open(dir: &Path) -> Answer<Self> {
        let log = okaywal::Configuration::default_for(dir).open(okaywal::LogVoid)?;
        Ok(Self(log))
    }
}

impl Peer for OkayWal {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        let mut entry = self.0.begin_entry()?;
        for event in events {
            entry.write_chunk(event)?;
        }
        entry.commit()?;
        Ok(())
    }
}

/// A batch of key-values in one region; the keys come round again, so that its table in memory stays small.
struct RaftEngine {
    engine: raft_engine::Engine,
    keys: Keys,
}

impl RaftEngine {
    const KEYS: u64 = 100_000;

    fn open(dir: &Path) -> Answer<Self> {
        let config = raft_engine::Config {
            dir: dir.to_string_lossy().into_owned(),
            // Compression would measure the events.
            batch_compression_threshold: raft_engine::ReadableSize(0),
            ..raft_engine::Config::default()
        };
        Ok(Self { engine: raft_engine::Engine::open(config)?, keys: Keys::default() })
    }
}

impl Peer for RaftEngine {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        let mut batch = raft_engine::LogBatch::with_capacity(events.len());
        for (event, key) in events.iter().zip(self.keys.next(events.len())) {
            batch.put(1, (key % Self::KEYS).to_be_bytes().to_vec(), event.to_vec())?;
        }
        self.engine.write(&mut batch, true)?;
        Ok(())
    }

    fn forget(&self) -> Answer<()> {
        // What its users are told to call now and then: older values of a key are gone, and so are files of nothing else.
        self.engine.purge_expired_files()?;
        Ok(())
    }
}

#[cfg(feature = "rocksdb")]
struct RocksDb {
    db: rocksdb::DB,
    keys: Keys,
}

#[cfg(feature = "rocksdb")]
impl RocksDb {
    fn open(dir: &Path) -> Answer<Self> {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        // Its log is measured, not its tables.
        options.set_write_buffer_size(1 << 30);
        Ok(Self { db: rocksdb::DB::open(&options, dir)?, keys: Keys::default() })
    }
}

#[cfg(feature = "rocksdb")]
impl Peer for RocksDb {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        let mut batch = rocksdb::WriteBatch::default();
        for (event, key) in events.iter().zip(self.keys.next(events.len())) {
            batch.put(key.to_be_bytes(), event);
        }
        let mut options = rocksdb::WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options)?;
        Ok(())
    }
}

/// A batch in one keyspace, persisted.
struct Fjall {
    db: fjall::Database,
    keyspace: fjall::Keyspace,
    keys: Keys,
}

impl Fjall {
    fn open(dir: &Path) -> Answer<Self> {
        // Its journal is measured, not its tables.
        let db = fjall::Database::builder(dir).max_journaling_size(8 << 30).open()?;
        let keyspace = db.keyspace("events", || {
            fjall::KeyspaceCreateOptions::default().max_memtable_size(1 << 30)
        })?;
        Ok(Self { db, keyspace, keys: Keys::default() })
    }
}

impl Peer for Fjall {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        let mut batch = self.db.batch().durability(Some(fjall::PersistMode::SyncData));
        for (event, key) in events.iter().zip(self.keys.next(events.len())) {
            batch.insert(&self.keyspace, key.to_be_bytes(), *event);
        }
        batch.commit()?;
        Ok(())
    }

    fn forget(&self) -> Answer<()> {
        Ok(self.keyspace.clear()?)
    }
}

/// A transaction in one table.
struct Redb {
    db: redb::Database,
    keys: Keys,
}

impl Redb {
    const TABLE: redb::TableDefinition<'static, u64, &'static [u8]> =
        redb::TableDefinition::new("events");

    fn open(dir: &Path) -> Answer<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { db: redb::Database::create(dir.join("redb"))?, keys: Keys::default() })
    }
}

impl Peer for Redb {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        let transaction = self.db.begin_write()?;
        {
            let mut table = transaction.open_table(Self::TABLE)?;
            for (event, key) in events.iter().zip(self.keys.next(events.len())) {
                table.insert(key, *event)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn forget(&self) -> Answer<()> {
        let transaction = self.db.begin_write()?;
        transaction.delete_table(Self::TABLE)?;
        transaction.commit()?;
        Ok(())
    }
}

/// One element for each event.
struct QueueFile(Mutex<queue_file::QueueFile>);

impl QueueFile {
    fn open(dir: &Path) -> Answer<Self> {
        std::fs::create_dir_all(dir)?;
        let mut queue = queue_file::QueueFile::open(dir.join("queue"))?;
        queue.set_sync_writes(true);
        Ok(Self(Mutex::new(queue)))
    }

    fn locked(&self) -> MutexGuard<'_, queue_file::QueueFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for QueueFile {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        self.locked().add_n(events)?;
        Ok(())
    }

    fn forget(&self) -> Answer<()> {
        let mut queue = self.locked();
        // The last one stays: an empty queue cuts its file to nothing, and grows it anew.
        let but_one = queue.size().saturating_sub(1);
        queue.remove_n(but_one)?;
        Ok(())
    }

    fn taker(&self) -> Option<Box<dyn Taker + '_>> {
        Some(Box::new(self))
    }
}

impl Taker for &QueueFile {
    fn take(&mut self, events: u32, _: Duration) -> Answer<u32> {
        let mut queue = self.locked();
        let mut taken = 0;
        for element in queue.iter().take(events as usize) {
            black_box(element);
            taken += 1;
        }
        queue.remove_n(taken as usize)?;
        drop(queue);
        if taken == 0 {
            // It cannot wait.
            std::thread::yield_now();
        }
        Ok(taken)
    }
}
