//! Flume's `syslogtcp`: messages over TCP.
//!
//! All messages that have arrived together go into one transaction. While a channel is full nothing more is read, so that the sender waits
//! (Flume drops the events).

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
use std::net::SocketAddr;
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

const READ_BYTES: usize = 16 << 10;

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
            let connection = |stream, peer| {
                let framer = Framer::new(self.event_bytes_max);
                Box::pin(serve(cx.clone(), stream, peer, framer, self.maker.clone()))
                    as BoxFuture<'static, ()>
            };
            listen::serve(&cx, (&self.host, self.port), self.connections_max, connection).await
        })
    }
}

async fn serve(
    cx: SourceContext,
    mut stream: TcpStream,
    peer: SocketAddr,
    mut framer: Framer,
    maker: Maker,
) {
    let mut bytes = vec![0; READ_BYTES];
    while !cx.stop.is_stopped() {
        let len = match unless_stopped(&cx.stop, stream.read(&mut bytes)).await {
            Ok(len) => len,
            Err(error) => {
                tracing::debug!(source = %cx.name, %peer, %error, "connection ended");
                0
            }
        };
        let mut events = Vec::new();
        framer.feed(bytes.get(..len).unwrap_or_default(), |message| {
            events.push(maker.event(&message, peer))
        });
        if len == 0 {
            // What was sent without an end before the connection was cut.
            events.extend(framer.finish(true).map(|message| maker.event(&message, peer)));
        }
        maker.name(events.iter_mut().map(|event| (event, peer.ip())), &cx.stop).await;
        if !events.is_empty()
            && cx.pipeline.put(&mut PutBatch::of(events), Retry::UntilStopped).await.is_err()
        {
            return;
        }
        if len == 0 {
            return;
        }
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

    #[test]
    fn tls_is_refused_and_not_forgotten() {
        let keys = crate::testing::settings(&ENTRY, &[("port", "0"), ("ssl", "true")]);
        assert!(build(&keys, &Parts::default()).is_err());
    }
}
