use super::*;
use crate::{component::PutError, sync::lock, testing::Running};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn start(keys: &[(&str, &str)]) -> Running {
    let mut all = vec![("bind", "127.0.0.1"), ("port", "0")];
    all.extend(keys);
    Running::start(&ENTRY, &all).await
}

/// Sends, closes its half, and gives everything that is answered.
async fn exchange(source: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(source.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    answers
}

#[tokio::test]
async fn test_netcat_source_charsets() {
    let english = "This is a line";
    let french = "Ceci est une ligne en fran\u{e7}ais \u{20ac}\u{1F600}";
    for (encoding, charset) in
        [("utf-8", Charset::Utf8), ("UTF-16BE", Charset::Utf16Be), ("utf-16le", Charset::Utf16Le)]
    {
        let source = start(&[("encoding", encoding)]).await;
        let answers = exchange(&source, &charset.encode(&format!("{english}\n{french}\n"))).await;
        assert_eq!(answers, charset.encode("OK\nOK\n"));
        assert_eq!(source.stop().await.bodies(), [english, french]);
    }
    let source = start(&[("encoding", "iso-8859-1")]).await;
    exchange(&source, b"fran\xE7ais\n").await;
    assert_eq!(source.stop().await.bodies(), ["fran\u{e7}ais"]);
    let source = start(&[("encoding", "Shift_JIS"), ("max-line-length", "3")]).await;
    assert_eq!(exchange(&source, b"\x93\xFA\x96{\n").await, b"OK\n");
    assert_eq!(source.stop().await.bodies(), ["\u{65e5}\u{672c}"]);
}

#[tokio::test]
async fn test_netcat_source_ack_and_line_ends() {
    let source = start(&[]).await;
    assert_eq!(exchange(&source, b"one\r\n\ntwo\nno end").await, b"OK\nOK\nOK\n");
    assert_eq!(source.stop().await.bodies(), ["one\r", "", "two"]);
    let source = start(&[("ack-every-event", "false")]).await;
    assert_eq!(exchange(&source, b"one\ntwo\n").await, b"");
    assert_eq!(source.stop().await.bodies(), ["one", "two"]);
}

#[tokio::test]
async fn test_netcat_source_max_line_length() {
    let source = start(&[("max-line-length", "10")]).await;
    assert_eq!(exchange(&source, b"123456789\n").await, b"OK\n");
    let refused = "FAILED: Event exceeds the maximum length (10 chars, including newline)\n";
    for too_long in ["1234567890\n", "123456789012345", "\u{e7}234567890\n"] {
        assert_eq!(exchange(&source, too_long.as_bytes()).await, refused.as_bytes());
    }
    let both = exchange(&source, b"good\n1234567890\nlost\n").await;
    assert_eq!(both, format!("OK\n{refused}").as_bytes());
    assert_eq!(source.stop().await.bodies(), ["123456789", "good"]);
}

#[tokio::test]
async fn test_netcat_source_channel_failure_keeps_the_connection() {
    let source = start(&[]).await;
    lock(&source.out.failures).push_back(PutError::Full("no room\nat all".to_owned()));
    let mut stream = BufReader::new(TcpStream::connect(source.address).await.unwrap());
    let mut answers = String::new();
    for line in ["refused\n", "taken\n"] {
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.read_line(&mut answers).await.unwrap();
    }
    assert_eq!(answers, "FAILED: no room at all\nOK\n");
    assert_eq!(source.stop().await.bodies(), ["taken"]);
}

#[tokio::test]
async fn test_netcat_source_port_in_use() {
    let source = start(&[]).await;
    let port = source.address.port().to_string();
    let second = crate::testing::source(&ENTRY, &[("bind", "127.0.0.1"), ("port", &port)]);
    let (_sender, stop) = crate::component::Stop::new();
    let cx = SourceContext {
        name: "r2".into(),
        pipeline: std::sync::Arc::clone(&source.out) as _,
        stop,
        on_ready: std::sync::Arc::new(|_| {}),
    };
    let error = second.run(cx).await.unwrap_err();
    assert!(error.0.contains(&format!("cannot bind 127.0.0.1:{port}")), "{error}");
    source.stop().await;
}

#[tokio::test]
async fn test_netcat_source_many_clients() {
    let source = std::sync::Arc::new(start(&[]).await);
    let clients: Vec<_> = (0..100)
        .map(|client| {
            let source = std::sync::Arc::clone(&source);
            tokio::spawn(async move {
                let lines: String = (0..10).map(|line| format!("{client}-{line}\n")).collect();
                assert_eq!(exchange(&source, lines.as_bytes()).await, "OK\n".repeat(10).as_bytes());
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(source.out.bodies().len(), 1000);
}

#[tokio::test]
async fn lines_that_arrived_together_share_a_transaction() {
    let source = start(&[]).await;
    let lines = "x\n".repeat(250);
    assert_eq!(exchange(&source, lines.as_bytes()).await.len(), 750);
    let sizes = source.stop().await.batch_sizes();
    assert!(sizes.iter().all(|size| *size <= BATCH_EVENTS) && sizes.len() < 250, "{sizes:?}");
}

#[test]
fn an_encoding_that_is_not_known_is_refused() {
    let keys = [("bind", "localhost"), ("port", "1"), ("encoding", "IBM037")];
    assert!(build(&crate::testing::settings(&ENTRY, &keys), &Parts::default()).is_err());
}
