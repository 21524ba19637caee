//! The ways to use us: threads that commit, one thread with tickets or futures on their way, several data directories, the bare log.

use crate::{
    executor,
    peers::{Answer, Peer, Taker},
};
use fchannel::{
    Channel, Committed, Lsn, Options, PutTransaction, TakeLimit, Ticket, Wal, WalOptions,
};
use std::{
    collections::VecDeque,
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

/// Put and take transactions of the queue.
pub(crate) struct OurChannel {
    channel: Channel,
    /// Take commits that may be on their way at once.
    takes_in_flight_max: usize,
}

impl OurChannel {
    pub(crate) fn open(dir: &Path) -> Answer<Self> {
        Self::open_with(dir, Options::default())
    }

    /// With so many data directories.
    pub(crate) fn open_over(dir: &Path, data_dirs: usize) -> Answer<Self> {
        let data_dirs: Vec<_> = (0..data_dirs).map(|at| dir.join(format!("data-{at}"))).collect();
        data_dirs.iter().try_for_each(fs::create_dir_all)?;
        Self::open_with(dir, Options { data_dirs, ..Options::default() })
    }

    /// With segments that come round soon.
    pub(crate) fn open_in_segments_of(dir: &Path, segment_bytes_max: u64) -> Answer<Self> {
        Self::open_with(dir, Options { segment_bytes_max, ..Options::default() })
    }

    fn open_with(dir: &Path, options: Options) -> Answer<Self> {
        let options =
            Options { capacity_events: u64::from(u32::MAX), free_space_min_bytes: 0, ..options };
        Ok(Self { channel: Channel::open(dir, options)?, takes_in_flight_max: 1 })
    }

    pub(crate) fn taking_ahead(self, takes_in_flight_max: usize) -> Self {
        Self { takes_in_flight_max, ..self }
    }

    fn put_of(&self, events: &[&[u8]]) -> Answer<PutTransaction> {
        let mut put = self.channel.begin_put();
        events.iter().try_for_each(|event| put.push(event))?;
        Ok(put)
    }

    /// On its way when this returns. Room is granted at once: nobody fills the channel here.
    async fn submit(&self, events: &[&[u8]]) -> Answer<Ticket> {
        let put = self.put_of(events)?;
        let room = self.channel.reserve(put.len()).await?;
        Ok(put.submit(room)?)
    }
}

impl Peer for OurChannel {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        self.put_of(events)?.commit().map(drop).map_err(|error| error.to_string().into())
    }

    fn forget(&self) -> Answer<()> {
        let mut taker = OurTaker { peer: self, in_flight: VecDeque::new() };
        while taker.take(10_000, Duration::ZERO)? > 0 {}
        taker.finish()?;
        // What the background does every 64 MiB.
        self.channel.checkpoint()?;
        Ok(())
    }

    fn taker(&self) -> Option<Box<dyn Taker + '_>> {
        Some(Box::new(OurTaker { peer: self, in_flight: VecDeque::new() }))
    }
}

struct OurTaker<'a> {
    peer: &'a OurChannel,
    in_flight: VecDeque<Ticket>,
}

impl Taker for OurTaker<'_> {
    fn take(&mut self, events: u32, wait: Duration) -> Answer<u32> {
        let take = self.peer.channel.take_timeout(TakeLimit::events(events), wait)?;
        black_box(take.records());
        let taken = u32::try_from(take.records().len())?;
        if taken == 0 {
            return Ok(0);
        }
        if self.peer.takes_in_flight_max == 1 {
            take.commit()?;
            return Ok(taken);
        }
        self.in_flight.push_back(take.submit()?);
        if self.in_flight.len() >= self.peer.takes_in_flight_max
            && let Some(oldest) = self.in_flight.pop_front()
        {
            oldest.wait()?;
        }
        Ok(taken)
    }

    fn finish(&mut self) -> Answer<()> {
        self.in_flight.drain(..).try_for_each(|ticket| ticket.wait().map(drop))?;
        Ok(())
    }
}

/// One thread submits, and waits for the oldest of its tickets: it leads groups itself while it waits.
pub(crate) struct Tickets(pub(crate) OurChannel);

impl Peer for Tickets {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        self.0.commit(events)
    }

    fn commit_ahead(&self, in_flight: usize, events: &[&[u8]], until: Instant) -> Answer<Vec<u32>> {
        let (mut tickets, mut latencies_us) = (VecDeque::new(), Vec::new());
        let mut settle = |(begun, ticket): (Instant, Ticket)| -> Answer<()> {
            let _: Committed = ticket.wait()?;
            latencies_us.push(crate::measure::microseconds(begun.elapsed()));
            Ok(())
        };
        while Instant::now() < until {
            let begun = Instant::now();
            tickets.push_back((begun, executor::run(self.0.submit(events))?));
            if tickets.len() == in_flight
                && let Some(oldest) = tickets.pop_front()
            {
                settle(oldest)?;
            }
        }
        tickets.into_iter().try_for_each(settle)?;
        Ok(latencies_us)
    }

    fn forget(&self) -> Answer<()> {
        self.0.forget()
    }
}

/// One thread with an executor: as many tasks as are in flight, each of which awaits its commit. A thread of the channel leads.
pub(crate) struct Futures(pub(crate) OurChannel);

impl Futures {
    async fn commit_until(&self, events: &[&[u8]], until: Instant) -> Answer<Vec<u32>> {
        let mut latencies_us = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            self.0.submit(events).await?.await?;
            latencies_us.push(crate::measure::microseconds(begun.elapsed()));
        }
        Ok(latencies_us)
    }
}

impl Peer for Futures {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        self.0.commit(events)
    }

    fn commit_ahead(&self, in_flight: usize, events: &[&[u8]], until: Instant) -> Answer<Vec<u32>> {
        let tasks = (0..in_flight).map(|_| self.commit_until(events, until));
        let latencies_us: Vec<Vec<u32>> =
            executor::run_all(tasks).into_iter().collect::<Answer<_>>()?;
        Ok(latencies_us.concat())
    }

    fn forget(&self) -> Answer<()> {
        self.0.forget()
    }
}

/// A record of the bare log: the events behind each other.
pub(crate) struct OurWal(Wal);

impl OurWal {
    pub(crate) fn open(dir: &Path) -> Answer<Self> {
        Ok(Self(Wal::open(dir, WalOptions::default(), |_, _, _| Ok(()))?))
    }
}

impl Peer for OurWal {
    fn commit(&self, events: &[&[u8]]) -> Answer<()> {
        self.0.append(1, &events.concat())?;
        Ok(())
    }

    fn forget(&self) -> Answer<()> {
        Ok(self.0.release_before(Lsn::new(u64::MAX))?)
    }
}
