//! What sources share that accept connections: bind, accept, one task for each connection, an orderly end.

use crate::component::{BoxFuture, ComponentError, Key, KeyKind, SourceContext, Stop};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

/// The key of the bound that [`serve`] is given.
pub(super) const MAX_CONNECTIONS: Key = Key::new(
    "max-connections",
    KeyKind::Whole { min: 1, max: 1 << 20, replaced: false },
    "Connections at once; more wait to be accepted. Not a key of Flume.",
)
.or("4096");

/// Serves connections until the order to stop, then waits until all have ended.
///
/// With `connections_max` open ones it stops accepting: the next ones wait in the backlog of the system.
///
/// # Errors
/// The address cannot be bound.
pub(super) async fn serve(
    cx: &SourceContext,
    (host, port): (&str, u16),
    connections_max: usize,
    connection: impl Fn(TcpStream, SocketAddr) -> BoxFuture<'static, ()>,
) -> Result<(), ComponentError> {
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|error| ComponentError(format!("cannot bind {host}:{port}: {error}")))?;
    let address = listener.local_addr().map_err(|error| ComponentError(error.to_string()))?;
    cx.listening(address);
    let room = Arc::new(Semaphore::new(connections_max));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = cx.stop.stopped() => break,
            Some(ended) = tasks.join_next() => log_panic(cx, ended),
            (accepted, permit) = accept(&listener, &room) => match (accepted, permit) {
                (Ok((stream, peer)), permit) => {
                    let serve = connection(stream, peer);
                    tasks.spawn(async move {
                        serve.await;
                        drop(permit);
                    });
                }
                (Err(error), _) => {
                    // Out of descriptors, most likely: others may close some.
                    tracing::warn!(source = %cx.name, %error, "cannot accept a connection");
                    cx.stop.pause(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        log_panic(cx, ended);
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (std::io::Result<(TcpStream, SocketAddr)>, Option<tokio::sync::OwnedSemaphorePermit>) {
    // Never closed, so there is always a permit in the end.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    (listener.accept().await, permit)
}

fn log_panic(cx: &SourceContext, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(source = %cx.name, %error, "a connection was given up");
    }
}

/// Reads or writes, unless the order to stop comes while there is nothing to do.
pub(super) async fn unless_stopped<T>(
    stop: &Stop,
    io: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    tokio::select! {
        biased;
        result = io => result,
        () = stop.stopped() => Err(std::io::ErrorKind::Interrupted.into()),
    }
}
