//! A balance that survives a crash: `cargo run -p fchannel --example wal`, as often as you like.

use fchannel::{Wal, WalOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join("fchannel-example-wal");
    let mut balance = 0i64;
    let wal = Wal::open(&dir, WalOptions::default(), |_, _, body| {
        balance += std::str::from_utf8(body).unwrap_or_default().parse().unwrap_or(0);
        Ok(())
    })?;
    println!("replayed up to lsn {}: the balance is {balance}", wal.recovery().end);
    let committed = wal.append(1, b"5")?;
    println!("lsn {} is on disk: the balance is {}", committed.lsn, balance + 5);
    Ok(wal.close()?)
}
