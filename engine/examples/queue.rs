//! Events that wait on disk for who takes them: `cargo run -p fchannel --example queue`.

use fchannel::{Channel, Event, Headers, Options, TakeLimit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel =
        Channel::open(std::env::temp_dir().join("fchannel-example-queue"), Options::default())?;
    let mut put = channel.begin_put();
    for line in ["GET /cart 200", "GET /checkout 500"] {
        let event = Event::new(Headers::from_iter([("host", "web1")]), line);
        put.push_with(|buffer| event.encode_into(buffer))?;
    }
    put.commit()?; // on disk from here on, whatever crashes
    drop(channel.begin_take(TakeLimit::events(1))?); // a rollback: the event is back in its place
    let take = channel.begin_take(TakeLimit::events(100))?;
    for record in take.records() {
        println!(
            "event {}, attempt {}: {:?}",
            record.seq,
            record.attempts,
            Event::decode(record.payload.clone())?
        );
    }
    take.commit()?; // gone for good
    Ok(channel.close()?)
}
