use super::*;
use crate::testing::settings;

fn channel(keys: &[(&str, &str)]) -> Arc<dyn Channel> {
    build(&settings(&ENTRY, keys), &Parts::default()).unwrap()
}

fn batch(bodies: &[&str]) -> PutBatch {
    PutBatch::of(bodies.iter().map(|body| Event::of_body((*body).to_owned())).collect())
}

fn limit(events: usize) -> TakeLimit {
    TakeLimit { events, bytes: usize::MAX }
}

fn bodies(taken: &dyn Taken) -> Vec<String> {
    let text = |event: &Event| String::from_utf8(event.body.to_vec()).unwrap();
    taken.batch().events.iter().map(text).collect()
}

async fn take(taker: &mut Box<dyn Taker>, events: usize) -> Box<dyn Taken> {
    taker.take(limit(events)).await.unwrap().unwrap()
}

const IMPATIENT: (&str, &str) = ("keep-alive", "0");

#[tokio::test]
async fn test_memory_channel_put_take() {
    let channel = channel(&[]);
    let mut taker = channel.taker();
    assert!(taker.take(limit(1)).await.unwrap().is_none());
    let mut put = batch(&["event1", ""]);
    channel.put(&mut put).await.unwrap();
    assert!(put.events.is_empty());
    let taken = take(&mut taker, 10).await;
    assert_eq!(bodies(&*taken), ["event1", ""]);
    assert_eq!(channel.level(), ChannelLevel { events: 2, leased: 2 });
    taken.commit().await.unwrap();
    assert_eq!(channel.level(), ChannelLevel::default());
}

#[tokio::test]
async fn test_memory_channel_capacity() {
    let channel = channel(&[("capacity", "5"), ("transactionCapacity", "5"), IMPATIENT]);
    for _ in 0..5 {
        channel.put(&mut batch(&["x"])).await.unwrap();
    }
    let mut sixth = batch(&["sixth"]);
    assert!(
        matches!(channel.put(&mut sixth).await, Err(PutError::Full(why)) if why.contains("`capacity`"))
    );
    assert_eq!(sixth.events.len(), 1, "an error leaves the batch as it was");
    // Leased events keep their room until the take commits.
    let taken = take(&mut channel.taker(), 1).await;
    assert!(channel.put(&mut sixth).await.is_err());
    taken.commit().await.unwrap();
    channel.put(&mut sixth).await.unwrap();
}

#[tokio::test]
async fn test_memory_channel_transaction_capacity() {
    let channel = channel(&[("transactionCapacity", "2")]);
    let error = channel.put(&mut batch(&["a", "b", "c"])).await.unwrap_err();
    assert!(matches!(&error, PutError::TooLarge(why) if why.contains("transactionCapacity")));
    channel.put(&mut batch(&["a", "b"])).await.unwrap();
    channel.put(&mut batch(&["c"])).await.unwrap();
    assert_eq!(bodies(&*take(&mut channel.taker(), 10).await), ["a", "b"]);
    let keys = settings(&ENTRY, &[("capacity", "5"), ("transactionCapacity", "6")]);
    assert!(build(&keys, &Parts::default()).is_err());
}

#[tokio::test]
async fn test_memory_channel_byte_capacity() {
    // 1000 bytes less 20 % are 8 slots; an event takes one for each 100 bytes of body begun.
    let channel = channel(&[("byteCapacity", "1000"), IMPATIENT]);
    let body = "x".repeat(101);
    for _ in 0..4 {
        channel.put(&mut batch(&[&body])).await.unwrap();
    }
    assert!(
        matches!(channel.put(&mut batch(&[""])).await, Err(PutError::Full(why)) if why.contains("`byteCapacity`"))
    );
    let mut taker = channel.taker();
    drop(take(&mut taker, 1).await);
    assert!(channel.put(&mut batch(&[""])).await.is_err(), "a rollback frees nothing");
    take(&mut taker, 1).await.commit().await.unwrap();
    channel.put(&mut batch(&["", ""])).await.unwrap();
    let huge = "x".repeat(801);
    assert!(matches!(channel.put(&mut batch(&[&huge])).await, Err(PutError::TooLarge(_))));
}

#[test]
fn test_memory_channel_byte_capacity_slots() {
    assert_eq!(slots_of_bytes(1000, 20), 8);
    assert_eq!(slots_of_bytes(0, 20), store::SLOTS_MAX);
    assert_eq!(slots_of_bytes(u64::MAX, 0), store::SLOTS_MAX);
}

#[tokio::test]
async fn test_memory_channel_rollback_restores_the_order() {
    let channel = channel(&[]);
    let mut taker = channel.taker();
    channel.put(&mut batch(&["1", "2", "3", "4", "5"])).await.unwrap();
    let (first, second) = (take(&mut taker, 2).await, take(&mut taker, 2).await);
    assert_eq!(
        (first.batch().attempt, bodies(&*second)),
        (1, vec!["3".to_owned(), "4".to_owned()])
    );
    // Whichever comes back first.
    drop(first);
    drop(second);
    let again = take(&mut taker, 10).await;
    assert_eq!(bodies(&*again), ["1", "2", "3", "4", "5"]);
    assert_eq!(again.batch().attempt, 2);
}

#[tokio::test]
async fn a_take_respects_its_byte_limit_but_gives_one_event_at_least() {
    let channel = channel(&[]);
    channel.put(&mut batch(&["aaaa", "bbbb", "cccc"])).await.unwrap();
    let mut taker = channel.taker();
    let taken = taker.take(TakeLimit { events: 9, bytes: 17 }).await.unwrap().unwrap();
    assert_eq!(bodies(&*taken), ["aaaa", "bbbb"]);
    let taken = taker.take(TakeLimit { events: 9, bytes: 1 }).await.unwrap().unwrap();
    assert_eq!(bodies(&*taken), ["cccc"]);
}

#[tokio::test]
async fn a_put_that_waits_goes_on_when_there_is_room_and_holds_none_when_dropped() {
    let channel = channel(&[("capacity", "2"), ("transactionCapacity", "2")]);
    channel.put(&mut batch(&["a", "b"])).await.unwrap();
    for _ in 0..3 {
        let mut waiting = batch(&["c", "d"]);
        let put = channel.put(&mut waiting);
        tokio::select! {
            biased;
            _ = put => panic!("there is no room"),
            () = tokio::task::yield_now() => {}
        }
    }
    let mut waiting = batch(&["c", "d"]);
    let mut taker = channel.taker();
    let taken = take(&mut taker, 2).await;
    let (put, commit) = tokio::join!(channel.put(&mut waiting), taken.commit());
    put.unwrap();
    commit.unwrap();
    assert_eq!(bodies(&*take(&mut taker, 9).await), ["c", "d"]);
}

#[tokio::test]
async fn ready_wakes_one_taker_for_each_reason_to() {
    let channel = channel(&[]);
    let (mut one, mut two) = (channel.taker(), channel.taker());
    // A notice that a dropped waiter got goes to the next one.
    for _ in 0..2 {
        tokio::select! {
            biased;
            () = one.ready() => panic!("empty"),
            () = tokio::task::yield_now() => {}
        }
    }
    let (_, put) = tokio::join!(one.ready(), async { channel.put(&mut batch(&["a", "b"])).await });
    put.unwrap();
    // What one leaves is news for the other, and what one rolls back, too.
    let leased = take(&mut one, 1).await;
    two.ready().await;
    take(&mut two, 1).await.commit().await.unwrap();
    let ((), ()) = tokio::join!(two.ready(), async move { drop(leased) });
    assert_eq!(bodies(&*take(&mut two, 9).await), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn test_memory_channel_concurrency() {
    const EACH: usize = 500;
    let channel =
        channel(&[("capacity", "20"), ("transactionCapacity", "5"), ("keep-alive", "20")]);
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let channel = Arc::clone(&channel);
            tokio::spawn(async move {
                for number in 0..EACH {
                    channel.put(&mut batch(&[&format!("{producer}-{number}")])).await.unwrap();
                }
            })
        })
        .collect();
    let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..3 {
        let (mut taker, send) = (channel.taker(), send.clone());
        tokio::spawn(async move {
            for turn in 0_u32.. {
                taker.ready().await;
                let Some(taken) = taker.take(limit(3)).await.unwrap() else { continue };
                // Every third transaction is rolled back.
                if turn % 3 == 0 {
                    continue;
                }
                let bodies = bodies(&*taken);
                taken.commit().await.unwrap();
                for body in bodies {
                    if send.send(body).is_err() {
                        return;
                    }
                }
            }
        });
    }
    let mut all = std::collections::BTreeSet::new();
    while all.len() < 4 * EACH {
        assert!(all.insert(received.recv().await.unwrap()), "an event came twice");
    }
    for producer in producers {
        producer.await.unwrap();
    }
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_closed_channel_takes_nothing() {
    let channel = channel(&[]);
    channel.close().await.unwrap();
    assert!(matches!(channel.put(&mut batch(&["a"])).await, Err(PutError::Failed(_))));
}
