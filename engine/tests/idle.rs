//! A log at rest: what it does by itself, and that it then rests.
#![expect(clippy::disallowed_methods, reason = "the test damages files under the engine")]

mod common;

use common::eventually;
use fchannel::{Channel, ErrorKind, OnDamage, Options};

/// An idle log has its last group vouched for, so that damage to it is told from a torn end, and then rests.
#[test]
fn an_idle_log_vouches_for_its_last_group_once() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), Options::default()).unwrap();
    channel.put(b"the last").unwrap();
    let vouched = |channel: &Channel| channel.stats().log.frames;
    eventually("somebody vouches", || vouched(&channel) == 3);
    let rest = std::time::Instant::now() + std::time::Duration::from_millis(300);
    while std::time::Instant::now() < rest {
        std::thread::yield_now();
    }
    assert_eq!(vouched(&channel), 3, "a vouching frame needs none itself");
    // The last frame is damaged; without a witness that would be a torn end, and nothing would be said.
    drop(channel);
    let segment = dir.path().join("seg-1");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == b"the last").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let refusing = Options { on_damage: OnDamage::Refuse, ..Options::default() };
    assert_eq!(Channel::open(dir.path(), refusing).err().unwrap().kind(), &ErrorKind::Corrupt);
    let channel = Channel::open(dir.path(), Options::default()).unwrap();
    let [lost] = &channel.recovery().damages[..] else { panic!("one damage") };
    assert_eq!((lost.events.0.get(), lost.events.1.get()), (0, 1));
    assert_eq!(channel.stats().events, 0);
}
