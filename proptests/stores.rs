//! Maps and queues as their users have them: on real files, opened again, by many callers at once.

use std::collections::BTreeMap;
use std::path::Path;

use resolute::{Error, ErrorClass, Map, Queue};
use tempfile::tempdir;

async fn items(queue: &Queue<String>) -> Vec<String> {
    let (mut items, mut found) = (queue.items(), Vec::new());
    while let Some(item) = items.next().await.unwrap() {
        found.push(item.value);
    }
    found
}

async fn entries(map: &Map<String, u64>) -> BTreeMap<String, u64> {
    let (mut entries, mut found) = (map.entries(), BTreeMap::new());
    while let Some((key, value)) = entries.next().await.unwrap() {
        assert!(found.insert(key, value).is_none(), "a key comes once");
    }
    found
}

/// Bytes of all files of a directory.
fn bytes_in(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_map_has_what_was_set_and_not_cleared_also_when_it_is_opened_again() {
    let directory = tempdir().unwrap();
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    assert!(map.is_empty() && map.get("a").await.unwrap().is_none());
    for (key, value) in [("a", 1), ("b", 2), ("ä \"c\"", 3), ("b", 4)] {
        map.set(key, &value).await.unwrap();
    }
    assert!(map.clear("a").await.unwrap() && !map.clear("a").await.unwrap());
    let expected = BTreeMap::from([("b".to_owned(), 4), ("ä \"c\"".to_owned(), 3)]);
    assert_eq!(entries(&map).await, expected);
    map.close().await.unwrap();
    assert!(matches!(map.set("a", &1).await, Err(Error::Closed)));
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    assert_eq!((entries(&map).await, map.len(), map.get("b").await.unwrap()), (expected, 2, Some(4)));
    map.purge().await.unwrap();
    map.purge().await.unwrap();
    assert!(map.is_empty());
    map.close().await.unwrap();
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    assert!(map.is_empty());
}

#[tokio::test]
async fn a_queue_gives_its_items_in_their_order_each_once() {
    let directory = tempdir().unwrap();
    let queue: Queue<String> = Queue::open(directory.path()).await.unwrap();
    assert!(queue.dequeue().await.unwrap().is_none(), "an empty queue has nothing to give");
    queue.enqueue("0").await.unwrap();
    queue.enqueue_all(["1", "2", "3", "4", "5"].map(str::to_owned)).await.unwrap();
    assert_eq!(queue.dequeue().await.unwrap().as_deref(), Some("0"), "and took nothing that came later");
    queue.enqueue_all(Vec::<String>::new()).await.unwrap();
    queue.insert(0, "first").await.unwrap();
    queue.insert(2, "between").await.unwrap();
    queue.insert(99, "last").await.unwrap();
    assert_eq!(items(&queue).await, ["first", "1", "between", "2", "3", "4", "5", "last"]);
    assert_eq!(queue.remove_range(3..5).await.unwrap(), 2);
    assert_eq!(queue.remove_range(6..).await.unwrap() + queue.remove_range(2..2).await.unwrap(), 0);
    let first = queue.peek().await.unwrap().unwrap();
    assert!(queue.remove(&first).await.unwrap() && !queue.remove(&first).await.unwrap());
    queue.close().await.unwrap();
    let queue: Queue<String> = Queue::open(directory.path()).await.unwrap();
    assert_eq!(items(&queue).await, ["1", "between", "4", "5", "last"]);
    assert_eq!(queue.remove_range(..).await.unwrap(), 5);
    assert!(queue.is_empty() && queue.peek().await.unwrap().is_none());
}

#[tokio::test]
async fn an_item_of_another_type_is_not_taken() {
    let directory = tempdir().unwrap();
    let numbers: Queue<u64> = Queue::open(directory.path()).await.unwrap();
    numbers.enqueue(&7).await.unwrap();
    numbers.close().await.unwrap();
    let texts: Queue<String> = Queue::open(directory.path()).await.unwrap();
    assert!(matches!(texts.dequeue().await, Err(Error::Encoding(_))));
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn what_is_no_such_store_is_not_opened_and_left_as_it_was() {
    let directory = tempdir().unwrap();
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    map.set("a", &1).await.unwrap();
    let again = Map::<String, u64>::open(directory.path()).await.map(drop).unwrap_err();
    assert_eq!(again.class(), ErrorClass::InUse, "{again:?}");
    map.close().await.unwrap();
    let said = |error: &dyn std::error::Error| resolute_chain(error);
    let queue = Queue::<String>::open(directory.path()).await.map(drop).unwrap_err();
    assert!(said(&queue).contains("this is a map, not a queue"), "{}", said(&queue));
    let node = resolute::Bus::builder(directory.path()).open().await.map(drop).unwrap_err();
    assert!(said(&node).contains("this is a map, not a node"), "{}", said(&node));
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    assert_eq!(map.get("a").await.unwrap(), Some(1));

    let directory = tempdir().unwrap();
    resolute::Bus::builder(directory.path()).open().await.unwrap().close().await.unwrap();
    let map = Map::<String, u64>::open(directory.path()).await.map(drop).unwrap_err();
    assert!(said(&map).contains("the directory of a node, not a map"), "{}", said(&map));
}

/// An error and all its causes.
fn resolute_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn what_is_too_large_or_out_of_its_range_is_refused() {
    let directory = tempdir().unwrap();
    for bytes in [8 << 10, (8 << 20) + 1, 2 << 30] {
        let refused = Map::<String, u64>::open(directory.path()).segment_bytes(bytes).await.map(drop);
        assert!(matches!(refused, Err(Error::Option(_))), "{refused:?}");
    }
    let queue: Queue<String> = Queue::open(directory.path()).await.unwrap();
    let largest = "x".repeat(resolute::limits::ENTRY_BYTES_MAX - 2);
    queue.enqueue(&largest).await.unwrap();
    assert!(matches!(queue.enqueue(&(largest.clone() + "x")).await, Err(Error::EntryTooLarge { .. })));
    assert_eq!(items(&queue).await, [largest]);
    for _ in 0..65 {
        if let Err(error) = queue.insert(1, "x").await {
            panic!("{error}");
        }
    }
    let mut inserted = 0;
    let full = loop {
        match queue.insert(1, "y").await {
            Ok(()) => inserted += 1,
            Err(error) => break error,
        }
        assert!(inserted < 100);
    };
    assert!(matches!(full, Error::NoRoomBetween), "{full}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_what_it_takes_and_none_loses_anything() {
    let directory = tempdir().unwrap();
    let map: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    let callers: Vec<_> = (0..200_u64)
        .map(|caller| {
            let map = map.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let key = format!("{caller}/{number}");
                    map.set(&key, &number).await.unwrap();
                    assert_eq!(map.get(&key).await.unwrap(), Some(number));
                    if number % 2 == 0 {
                        assert!(map.clear(&key).await.unwrap());
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let held = entries(&map).await;
    assert_eq!(held.len(), 2000);
    drop(map);
    // The last handle is gone: the store closes by itself.
    let map: Map<String, u64> = loop {
        match Map::open(directory.path()).await {
            Ok(map) => break map,
            Err(error) => assert_eq!(error.class(), ErrorClass::InUse, "{error:?}"),
        }
    };
    assert_eq!(entries(&map).await, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_small_however_much_is_changed_and_keeps_what_does_not_change() {
    let directory = tempdir().unwrap();
    let map: Map<String, String> = Map::open(directory.path()).await.unwrap();
    let value = |number: usize| format!("{number:0>3000}");
    for number in 0..100 {
        map.set(&format!("kept {number}"), &value(number)).await.unwrap();
    }
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let map = map.clone();
            tokio::spawn(async move {
                for number in 0..1000 {
                    let key = format!("{caller}");
                    map.set(&key, &value(number)).await.unwrap();
                    map.clear(&key).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(bytes_in(directory.path()) <= 64 << 20, "{} bytes are left", bytes_in(directory.path()));
    map.close().await.unwrap();
    let map: Map<String, String> = Map::open(directory.path()).await.unwrap();
    assert_eq!(map.len(), 100);
    for number in 0..100 {
        assert_eq!(map.get(&format!("kept {number}")).await.unwrap(), Some(value(number)));
    }
    // Two segments at most are left when nothing else is wanted: the one that is written, and what was copied may have filled one.
    map.compact().await.unwrap();
    assert!(bytes_in(directory.path()) <= 48 << 20, "{} bytes are left", bytes_in(directory.path()));
    assert_eq!(map.len(), 100);
}
