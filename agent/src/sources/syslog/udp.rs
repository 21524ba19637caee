//! Flume's `syslogudp`: a message for each datagram.
//!
//! A sender of datagrams cannot be made to wait. So what arrives while a channel is full is buffered, up to a bound; beyond it the buffer
//! of the system fills, which then drops datagrams. That is logged. What stands behind a line end in a datagram is a further message
//! (Flume ignores it).

use super::{
    CLIENT_HOST, CLIENT_IP, HOST, KEEP_FIELDS, Maker, PORT,
    frame::Framer,
    host_of,
    own::{self, Own},
};
use crate::component::{
    BoxFuture, Build, ComponentError, Entry, Parts, Placement, PutBatch, Retry, Settings, Source,
    SourceContext,
};
use bytes::Bytes;
use fchannel::Event;
use std::{net::IpAddr, sync::Arc};
use tokio::{
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

pub(crate) static ENTRY: Entry = Entry {
    names: &["syslogudp", "org.apache.flume.source.SyslogUDPSource"],
    doc: "Takes syslog messages over UDP, one a datagram.",
    keys: &[
        PORT,
        HOST,
        KEEP_FIELDS,
        CLIENT_IP,
        CLIENT_HOST,
        own::REGEX,
        own::SEARCH,
        own::REPLACE,
        own::DATE,
    ],
    batch_key: None,
    verify: Some(Own::problems),
    build: Build::Source(Placement::Shared, build),
};

/// The largest datagram there is. Flume 1.10 and later cut them at 2048.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// What is buffered while the channels take nothing.
const WAITING_EVENTS_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Events in one transaction: not more than the default `transactionCapacity`.
const BATCH_EVENTS: usize = 100;

struct Udp {
    host: String,
    port: u16,
    maker: Maker,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    let port = u16::try_from(settings.whole("port")?)
        .map_err(|_| ComponentError(format!("{}: `port` is over 65535", settings.name())))?;
    Ok(Box::new(Udp { host: host_of(settings), port, maker: Maker::new(settings)? }))
}

impl Source for Udp {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let at = (self.host.as_str(), self.port);
            let socket = UdpSocket::bind(at).await.map_err(|error| {
                ComponentError(format!("cannot bind {}:{}: {error}", self.host, self.port))
            })?;
            let address = socket.local_addr().map_err(|error| ComponentError(error.to_string()))?;
            cx.listening(address);
            let (send, waiting) = mpsc::channel(WAITING_EVENTS_MAX);
            let receiver = Receiver {
                cx: cx.clone(),
                socket,
                maker: self.maker.clone(),
                waiting: send,
                room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
                full: false,
            };
            let (received, ()) = tokio::join!(receiver.run(), deliver(cx, self.maker, waiting));
            received
        })
    }
}

/// An event, who sent it, and its room.
type Waiting = (Event, IpAddr, OwnedSemaphorePermit);

/// Takes datagrams from the system as fast as it can, whatever the channels do.
struct Receiver {
    cx: SourceContext,
    socket: UdpSocket,
    maker: Maker,
    waiting: mpsc::Sender<Waiting>,
    /// In bytes.
    room: Arc<Semaphore>,
    full: bool,
}

impl Receiver {
    /// Ends with the order to stop, after what the system has received by then.
    async fn run(mut self) -> Result<(), ComponentError> {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        let stop = self.cx.stop.clone();
        loop {
            let received = tokio::select! {
                biased;
                () = stop.stopped() => break,
                received = self.socket.recv_from(&mut bytes) => received,
            };
            match received {
                Ok((len, peer)) => {
                    for event in self.events(bytes.get(..len).unwrap_or_default(), peer) {
                        tokio::select! {
                            biased;
                            () = self.keep(event, peer.ip()) => {}
                            () = stop.stopped() => return Ok(()),
                        }
                    }
                }
                // An earlier answer of the network to nothing that we sent; the socket is fine.
                Err(error) => tracing::debug!(source = %self.cx.name, %error, "cannot receive"),
            }
        }
        while let Ok((len, peer)) = self.socket.try_recv_from(&mut bytes) {
            for event in self.events(bytes.get(..len).unwrap_or_default(), peer) {
                let Some(permit) = self.permit_now(&event) else { return Ok(()) };
                if self.waiting.try_send((event, peer.ip(), permit)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn events(&self, datagram: &[u8], peer: std::net::SocketAddr) -> Vec<Event> {
        let mut framer = Framer::new(DATAGRAM_BYTES_MAX);
        let mut burst = self.maker.burst(peer);
        let mut events = Vec::new();
        framer.feed(&Bytes::copy_from_slice(datagram), |message| {
            events.push(burst.event(&message));
        });
        events.extend(framer.finish(false).map(|message| burst.event(&message)));
        events
    }

    async fn keep(&mut self, event: Event, peer: IpAddr) {
        if self.waiting.capacity() == 0 || self.room.available_permits() < cost(&event) as usize {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!(source = %self.cx.name, events_max = WAITING_EVENTS_MAX, bytes_max = WAITING_BYTES_MAX,
                    "the channels do not keep up and the buffer is full: the system may drop datagrams");
            }
        } else if std::mem::replace(&mut self.full, false) {
            tracing::info!(source = %self.cx.name, "there is room in the buffer again");
        }
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(cost(&event)).await else {
            return;
        };
        // It fails only when nobody delivers any more: the agent stops.
        self.waiting.send((event, peer, permit)).await.unwrap_or_default();
    }

    fn permit_now(&self, event: &Event) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(cost(event)).ok()
    }
}

/// Headers count, too: the ones of a short message are longer than it.
fn cost(event: &Event) -> u32 {
    u32::try_from(event.encoded_len()).unwrap_or(u32::MAX)
}

/// Puts what is waiting, without waiting for more, until the receiver has ended.
async fn deliver(cx: SourceContext, maker: Maker, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    while waiting.recv_many(&mut batch, BATCH_EVENTS).await > 0 {
        // Here, not where datagrams are received: there nothing is waited for.
        maker.name(batch.iter_mut().map(|(event, peer, _)| (event, *peer)), &cx.stop).await;
        let (events, permits): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|(event, _, permit)| (event, permit)).unzip();
        if cx.pipeline.put(&mut PutBatch::of(events), Retry::UntilStopped).await.is_err() {
            let lost = permits.len() + waiting.len();
            tracing::warn!(source = %cx.name, events = lost, "stopped with events that no channel took: they are lost");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;

    async fn send(source: &Running, datagrams: &[&[u8]]) {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        for datagram in datagrams {
            socket.send_to(datagram, source.address).await.unwrap();
        }
    }

    #[tokio::test]
    async fn test_syslog_udp_source_keep_fields_and_headers() {
        for (keep, expected) in [("none", "test UDP"), ("all", "<10>Feb  5 17:32:18 host test UDP")]
        {
            let source = Running::start(
                &ENTRY,
                &[
                    ("port", "0"),
                    ("keepFields", keep),
                    ("clientIPHeader", "ip"),
                    ("clientHostnameHeader", "name"),
                ],
            )
            .await;
            send(&source, &[b"<10>Feb  5 17:32:18 host test UDP".as_slice(); 10]).await;
            assert_eq!(source.out.wait_for(10).await, [expected; 10]);
            let event = source.stop().await.events().remove(0);
            assert_eq!(event.headers.get("ip"), Some("127.0.0.1"));
            let name = crate::dns::name_of([127, 0, 0, 1].into());
            assert_eq!(event.headers.get("name").map(str::to_owned), name);
        }
    }

    #[tokio::test]
    async fn test_syslog_udp_source_large_payload() {
        let source = Running::start(&ENTRY, &[("port", "0")]).await;
        let large = [b"<10>".as_slice(), &[b'x'; 60_000]].concat();
        send(&source, &[&large]).await;
        assert_eq!(source.out.wait_for(1).await[0].len(), 60_004);
        source.stop().await;
    }

    #[test]
    fn headers_count_in_the_bound_on_what_waits() {
        let headers = [("host", "h".repeat(100))];
        let headers = headers.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let event = Event::new(headers, "x");
        assert_eq!(cost(&event) as usize, event.encoded_len());
        assert!(cost(&event) > 100);
    }

    #[tokio::test]
    async fn every_line_of_a_datagram_is_an_event_and_nothing_is_none() {
        let source = Running::start(&ENTRY, &[("port", "0")]).await;
        send(&source, &[b"", b"\n", b"<1>one\r\n<2>two", b"<", b"<3>three\n"]).await;
        assert_eq!(source.out.wait_for(4).await, ["<1>one", "<2>two", "<", "<3>three"]);
        let events = source.stop().await.events();
        assert_eq!(events[1].headers.get("flume.syslog.status"), None);
        assert_eq!(events[2].headers.get("flume.syslog.status"), Some("Invalid"));
    }
}
