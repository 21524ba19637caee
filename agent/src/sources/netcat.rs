//! Flume's netcat source: lines over TCP, each answered with `OK` once it is committed.
//!
//! All complete lines that have arrived go into one transaction, then there is one answer for each. When a transaction fails, each of its
//! lines is answered with `FAILED`; a client that sends them again may double lines where a channel had taken a part.

use super::listen::{self, unless_stopped};
use crate::{
    component::{
        BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Placement, Problem, PutBatch,
        Retry, Settings, Source, SourceContext,
    },
    text::{CHARSET_HELP, Charset, Decoder},
};
use fchannel::Event;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) static ENTRY: Entry = Entry {
    names: &["netcat", "org.apache.flume.source.NetcatSource"],
    doc: "Takes lines over TCP and answers each.",
    keys: &[
        Key::new("bind", KeyKind::Text, "The name or address to listen at.").required(),
        Key::new(
            "port",
            KeyKind::Whole { min: 0, max: 65535, replaced: false },
            "The port; 0 lets the system choose.",
        )
        .required(),
        Key::new(
            "max-line-length",
            KeyKind::Whole { min: 1, max: 1 << 24, replaced: false },
            "Characters of a line, its end included.",
        )
        .or("512"),
        Key::new(
            "ack-every-event",
            KeyKind::Flag,
            "Answers each line with OK; failures are always answered.",
        )
        .or("true"),
        Key::new(
            "encoding",
            KeyKind::Text,
            "Of lines and answers, by its name in Java: utf-8, iso-8859-1, windows-1252, Shift_JIS, \
             GBK, utf-16be, utf-16le and many more. Bodies are UTF-8 in any case.",
        )
        .or("utf-8"),
        listen::MAX_CONNECTIONS,
    ],
    batch_key: None,
    verify: Some(verify),
    build: Build::Source(Placement::Shared, build),
};

/// Lines in one transaction: not more than the default `transactionCapacity`, so that it is not cut in two.
const BATCH_EVENTS: usize = 100;

const READ_BYTES: usize = 8 << 10;

/// How long the input of a refused connection is read and thrown away.
const DRAIN_MAX: Duration = Duration::from_secs(1);

struct Netcat {
    bind: String,
    port: u16,
    connections_max: usize,
    rules: Rules,
}

#[derive(Clone, Copy)]
struct Rules {
    line_chars_max: usize,
    ack: bool,
    charset: Charset,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    charset(settings).err().into_iter().collect()
}

fn charset(settings: &Settings) -> Result<Charset, Problem> {
    let charset = settings.text("encoding").and_then(Charset::by_name);
    let help = || format!("{CHARSET_HELP}; utf-16be and utf-16le, too");
    charset.ok_or_else(|| Problem::new("encoding", "no charset has this name here").help(help()))
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    let charset = settings.usable(charset(settings))?;
    let size =
        |key| Ok::<_, ComponentError>(usize::try_from(settings.whole(key)?).unwrap_or(usize::MAX));
    Ok(Box::new(Netcat {
        bind: settings.required("bind")?.to_owned(),
        port: u16::try_from(settings.whole("port")?)
            .map_err(|_| ComponentError(format!("{}: `port` is over 65535", settings.name())))?,
        connections_max: size(listen::MAX_CONNECTIONS.pattern)?,
        rules: Rules {
            line_chars_max: size("max-line-length")?,
            ack: settings.flag("ack-every-event"),
            charset,
        },
    }))
}

impl Source for Netcat {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let connection = |stream, _| {
                let connection = Connection {
                    cx: cx.clone(),
                    rules: self.rules,
                    stream,
                    decoder: Decoder::new(self.rules.charset),
                    text: String::new(),
                };
                Box::pin(connection.serve()) as BoxFuture<'static, ()>
            };
            listen::serve(&cx, (&self.bind, self.port), self.connections_max, connection).await
        })
    }
}

struct Connection {
    cx: SourceContext,
    rules: Rules,
    stream: TcpStream,
    decoder: Decoder,
    /// Decoded and not yet put: at most a line and a read.
    text: String,
}

impl Connection {
    async fn serve(mut self) {
        if let Err(error) = self.serve_until_closed().await {
            tracing::debug!(source = %self.cx.name, %error, "connection ended");
        }
    }

    async fn serve_until_closed(&mut self) -> std::io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        // The order to stop interrupts reads and answers, not a put: its client shall hear how it ended.
        while !self.cx.stop.is_stopped() {
            let len = unless_stopped(&self.cx.stop, self.stream.read(&mut bytes)).await?;
            // What stands after the last line end is dropped with the connection, as Flume does.
            let Some(arrived) = bytes.get(..len).filter(|arrived| !arrived.is_empty()) else {
                return Ok(());
            };
            self.decoder.decode(arrived, &mut self.text);
            loop {
                let (lines, then) = self.lines();
                self.put(lines).await?;
                match then {
                    Then::MoreLines => {}
                    Then::Read => break,
                    Then::TooLong => return self.refuse().await,
                }
            }
        }
        Ok(())
    }

    /// The complete lines, up to one transaction, and what comes after them.
    fn lines(&mut self) -> (Vec<Event>, Then) {
        let mut lines = Vec::new();
        let mut start = 0;
        let then = loop {
            if lines.len() == BATCH_EVENTS {
                break Then::MoreLines;
            }
            let rest = self.text.get(start..).unwrap_or_default();
            match rest.split_once('\n') {
                // The end of the line counts, too.
                Some((line, _)) if self.fits(line) => {
                    lines.push(Event::of_body(line.to_owned()));
                    start += line.len() + 1;
                }
                Some(_) => break Then::TooLong,
                None if self.fits(rest) => break Then::Read,
                None => break Then::TooLong,
            }
        };
        self.text.drain(..start);
        (lines, then)
    }

    /// Characters as Java counts them.
    fn fits(&self, line: &str) -> bool {
        line.len() < self.rules.line_chars_max
            || line.encode_utf16().count() < self.rules.line_chars_max
    }

    async fn put(&mut self, lines: Vec<Event>) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let count = lines.len();
        let answer = match self.cx.pipeline.put(&mut PutBatch::of(lines), Retry::No).await {
            Ok(()) if self.rules.ack => "OK\n".to_owned(),
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::warn!(source = %self.cx.name, events = count, %error, "lines refused");
                // An answer is one line.
                format!("FAILED: {}\n", error.to_string().replace(['\r', '\n'], " "))
            }
        };
        let answers = self.rules.charset.encode(&answer).repeat(count);
        unless_stopped(&self.cx.stop, self.stream.write_all(&answers)).await
    }

    async fn refuse(&mut self) -> std::io::Result<()> {
        let chars = self.rules.line_chars_max;
        tracing::warn!(source = %self.cx.name, max_line_length = chars, "a line is too long, connection closed");
        let answer = format!(
            "FAILED: Event exceeds the maximum length ({chars} chars, including newline)\n"
        );
        let answer = self.rules.charset.encode(&answer);
        unless_stopped(&self.cx.stop, self.stream.write_all(&answer)).await?;
        self.stream.shutdown().await?;
        // Closing with input unread would reset the connection, and the answer might not arrive.
        let mut rest = vec![0; READ_BYTES];
        let drained = async { while self.stream.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(DRAIN_MAX) => {}
        }
        Ok(())
    }
}

/// What comes after the lines of one transaction.
enum Then {
    MoreLines,
    Read,
    TooLong,
}

#[cfg(test)]
mod tests;
