//! Flume's `syslogtcp`: messages over TCP.
//!
//! All messages that have arrived together go into one transaction. While a channel is full nothing more is read, so that the sender waits
//! (Flume drops the events). A connection that is silent holds no buffer, and the more of them have something in hand, the less each reads
//! at once: memory stays small with thousands of them.

use super::{
    CLIENT_HOST, CLIENT_IP, HOST, KEEP_FIELDS, Maker, PORT,
    frame::Framer,
    host_of,
    own::{self, Own},
};
use crate::{
    component::{
        BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Placement, Problem, PutBatch,
        Retry, Settings, Source, SourceContext,
    },
    sources::listen::{self, unless_stopped},
};
use bytes::{BufMut, Bytes, BytesMut};
use fchannel::Event;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{io::AsyncReadExt, net::TcpStream};

pub(crate) static ENTRY: Entry = Entry {
    names: &["syslogtcp", "org.apache.flume.source.SyslogTcpSource"],
    doc: "Takes syslog messages over TCP, one a line.",
    keys: &[
        PORT,
        HOST,
        Key::new(
            "eventSize",
            KeyKind::Whole { min: 1, max: 1 << 26, replaced: false },
            "Bytes of a message, 10 at least; a longer one comes in pieces.",
        )
        .or("2500"),
        KEEP_FIELDS,
        CLIENT_IP,
        CLIENT_HOST,
        own::REGEX,
        own::SEARCH,
        own::REPLACE,
        own::DATE,
        Key::new(
            "ssl",
            KeyKind::Flag,
            "TLS; not supported yet, `true` is an error: a proxy such as stunnel before the source \
             does it.",
        )
        .or("false"),
        listen::MAX_CONNECTIONS,
    ],
    batch_key: None,
    verify: Some(verify),
    build: Build::Source(Placement::Shared, build),
};

/// What one read may bring: a connection alone is not slowed down by its waits for the disk, and many leave each other room.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES_MAX: usize = 64 << 10;
/// What all connections together shall have in hand, read and not yet committed.
const IN_HAND_BYTES: usize = 2 << 20;

struct Tcp {
    host: String,
    port: u16,
    event_bytes_max: usize,
    connections_max: usize,
    maker: Maker,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    let mut problems = Own::problems(settings);
    if settings.flag("ssl") {
        let help = "let a proxy such as stunnel end the TLS, connect it to this port without TLS, and set `ssl = false` and \
                    `host = 127.0.0.1`";
        problems.push(Problem::new("ssl", "TLS is not supported yet").help(help));
    }
    problems
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    settings.sound(verify(settings))?;
    let size =
        |key| Ok::<_, ComponentError>(usize::try_from(settings.whole(key)?).unwrap_or(usize::MAX));
    Ok(Box::new(Tcp {
        host: host_of(settings),
        port: u16::try_from(settings.whole("port")?)
            .map_err(|_| ComponentError(format!("{}: `port` is over 65535", settings.name())))?,
        event_bytes_max: size("eventSize")?,
        connections_max: size(listen::MAX_CONNECTIONS.pattern)?,
        maker: Maker::new(settings)?,
    }))
}

impl Source for Tcp {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let busy = Arc::new(AtomicUsize::new(0));
            let connection = |stream, peer| {
                let connection = Connection {
                    cx: cx.clone(),
                    stream,
                    peer,
                    framer: Framer::new(self.event_bytes_max),
                    maker: self.maker.clone(),
                    busy: Arc::clone(&busy),
                };
                Box::pin(connection.serve()) as BoxFuture<'static, ()>
            };
            listen::serve(&cx, (&self.host, self.port), self.connections_max, connection).await
        })
    }
}

struct Connection {
    cx: SourceContext,
    stream: TcpStream,
    peer: SocketAddr,
    framer: Framer,
    maker: Maker,
    /// Connections that have something in hand.
    busy: Arc<AtomicUsize>,
}

/// While it lives, one connection is busy.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    /// And how many bytes it may read.
    fn begin(busy: &Arc<AtomicUsize>) -> (Self, usize) {
        let count = busy.fetch_add(1, Ordering::Relaxed) + 1;
        (Self(Arc::clone(busy)), (IN_HAND_BYTES / count).clamp(READ_BYTES_MIN, READ_BYTES_MAX))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    async fn serve(mut self) {
        while !self.cx.stop.is_stopped() {
            let readable = unless_stopped(&self.cx.stop, self.stream.readable()).await;
            if !self.put_what_came(readable).await {
                return;
            }
        }
    }

    /// One read, one transaction; false if it was the last.
    async fn put_what_came(&mut self, readable: io::Result<()>) -> bool {
        let (_busy, bytes_max) = Busy::begin(&self.busy);
        let mut buffer = BytesMut::with_capacity(bytes_max).limit(bytes_max);
        let read = match readable {
            Ok(()) => unless_stopped(&self.cx.stop, self.stream.read_buf(&mut buffer)).await,
            Err(error) => Err(error),
        };
        let is_last = match read {
            Ok(len) => len == 0,
            Err(error) => {
                tracing::debug!(source = %self.cx.name, peer = %self.peer, %error, "connection ended");
                true
            }
        };
        let mut events = self.events(&buffer.into_inner().freeze(), is_last);
        let peer = self.peer.ip();
        self.maker.name(events.iter_mut().map(|event| (event, peer)), &self.cx.stop).await;
        if !events.is_empty() {
            let mut batch = PutBatch::of(events);
            if self.cx.pipeline.put(&mut batch, Retry::UntilStopped).await.is_err() {
                return false;
            }
        }
        !is_last
    }

    fn events(&mut self, piece: &Bytes, is_last: bool) -> Vec<Event> {
        let mut burst = self.maker.burst(self.peer);
        let mut events = Vec::new();
        self.framer.feed(piece, |message| events.push(burst.event(&message)));
        if is_last {
            // What was sent without an end before the connection was cut.
            events.extend(self.framer.finish(true).map(|message| burst.event(&message)));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;
    use tokio::io::AsyncWriteExt;

    async fn start(keys: &[(&str, &str)]) -> Running {
        let mut all = vec![("port", "0")];
        all.extend(keys);
        Running::start(&ENTRY, &all).await
    }

    async fn send(source: &Running, text: &str) {
        let mut stream = TcpStream::connect(source.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    const MESSAGE: &str = "<10>1 2012-04-13T11:11:11Z ubuntu-11.cloudera.com test TCP syslog data";

    #[tokio::test]
    async fn test_syslog_tcp_source_keep_fields() {
        for (keep, expected) in [
            ("none", "test TCP syslog data"),
            ("all", MESSAGE),
            ("hostname", "ubuntu-11.cloudera.com test TCP syslog data"),
            ("timestamp", "2012-04-13T11:11:11Z test TCP syslog data"),
        ] {
            let source = start(&[("keepFields", keep)]).await;
            assert!(source.address.ip().is_loopback(), "no host, no strangers");
            send(&source, &format!("{MESSAGE}\n").repeat(10)).await;
            assert_eq!(source.out.wait_for(10).await, [expected; 10]);
            source.stop().await;
        }
    }

    #[tokio::test]
    async fn test_syslog_tcp_source_client_headers_and_event_size() {
        let source = start(&[
            ("clientIPHeader", "ip"),
            ("clientHostnameHeader", "name"),
            ("eventSize", "10"),
        ])
        .await;
        send(&source, "<10> bad bad data bad\n").await;
        source.out.wait_for(3).await;
        let events = source.stop().await.events();
        assert_eq!(&events[0].body[..], b"<10> bad b");
        assert_eq!(events[0].headers.get("flume.syslog.status"), Some("Incomplete"));
        assert_eq!(events[1].headers.get("flume.syslog.status"), Some("Invalid"));
        assert_eq!(
            (events[0].headers.get("ip"), events[0].headers.get("name").map(str::to_owned)),
            (Some("127.0.0.1"), crate::dns::name_of([127, 0, 0, 1].into()))
        );
    }

    #[tokio::test]
    async fn what_a_connection_leaves_without_an_end_is_an_event() {
        let source = start(&[]).await;
        send(&source, "<10>one\n<10>cut").await;
        assert_eq!(source.out.wait_for(2).await, ["<10>one", "<10>cut"]);
        assert_eq!(
            source.stop().await.events()[1].headers.get("flume.syslog.status"),
            Some("Incomplete")
        );
    }

    #[tokio::test]
    async fn messages_that_arrived_together_share_a_transaction() {
        let source = start(&[]).await;
        send(&source, &"<10>x\n".repeat(1000)).await;
        source.out.wait_for(1000).await;
        assert!(source.stop().await.batch_sizes().len() < 100);
    }

    #[tokio::test]
    async fn many_connections_at_once_keep_their_own_order() {
        let source = start(&[]).await;
        let senders = (0..50).map(|connection| {
            let text: String = (0..200).map(|line| format!("<10>{connection} {line}\n")).collect();
            let address = source.address;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // Pieces that end in the middle of a message.
                for piece in text.as_bytes().chunks(1000) {
                    stream.write_all(piece).await.unwrap();
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        let mut lines = vec![0; 50];
        for body in source.out.wait_for(50 * 200).await {
            let (connection, line) = body.strip_prefix("<10>").unwrap().split_once(' ').unwrap();
            let next = &mut lines[connection.parse::<usize>().unwrap()];
            assert_eq!(line.parse(), Ok(*next), "connection {connection}");
            *next += 1;
        }
        assert_eq!(lines, [200; 50]);
        source.stop().await;
    }

    #[test]
    fn the_more_connections_are_busy_the_less_each_reads() {
        let count = Arc::new(AtomicUsize::new(0));
        let (first, alone) = Busy::begin(&count);
        let others: Vec<_> = (0..99).map(|_| Busy::begin(&count)).collect();
        assert_eq!((alone, others[98].1), (READ_BYTES_MAX, IN_HAND_BYTES / 100));
        count.store(1 << 20, Ordering::Relaxed);
        assert_eq!(Busy::begin(&count).1, READ_BYTES_MIN);
        count.store(100, Ordering::Relaxed);
        drop((first, others));
        assert_eq!(Busy::begin(&count).1, READ_BYTES_MAX);
    }

    #[test]
    fn tls_is_refused_and_not_forgotten() {
        let keys = crate::testing::settings(&ENTRY, &[("port", "0"), ("ssl", "true")]);
        assert!(build(&keys, &Parts::default()).is_err());
    }
}
