//! The ancestor's files: whatever bytes they have, and however they are damaged.

use std::collections::VecDeque;

use proptest::prelude::*;
use resolute::stores::legacy::{Map, Queue};

/// An operation of a map, on one of a few keys, or of a queue, where the key says nothing.
#[derive(Clone, Debug)]
enum Deed {
    Put(u8, String),
    Take(u8),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let value = "[a-zé ]{0,30}".prop_map(|text| format!("{{\"text\":\"{text}\"}}"));
    let one = prop_oneof![
        3 => (0..12_u8, value).prop_map(|(key, value)| Deed::Put(key, value)),
        1 => (0..12_u8).prop_map(Deed::Take),
    ];
    proptest::collection::vec(one, 0..40)
}

/// Keys of many lengths, none of which a single damaged byte makes another.
fn key(number: u8) -> String {
    let letter = char::from(b'a' + number);
    format!("{letter}{letter}{letter}{}", "y".repeat(usize::from(number)))
}

fn word(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u32).to_be_bytes());
}

fn counted(out: &mut Vec<u8>, text: &str) {
    word(out, text.len());
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The bytes of each operation, as the ancestor writes it.
fn written(deeds: &[Deed], is_map: bool) -> Vec<Vec<u8>> {
    let write = |deed: &Deed| {
        let mut out = Vec::new();
        word(&mut out, if matches!(deed, Deed::Put(..)) { 1 } else { 2 });
        if is_map {
            let (Deed::Put(number, _) | Deed::Take(number)) = deed;
            counted(&mut out, &key(*number));
        }
        if let Deed::Put(_, value) = deed {
            counted(&mut out, value);
        }
        out
    };
    deeds.iter().map(write).collect()
}

fn file(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pieces.concat();
    // In blocks of zeros, as the ancestor has its files, though smaller ones.
    bytes.resize(bytes.len().next_multiple_of(1024), 0);
    bytes
}

/// What a map holds after that, in its order.
fn map_of(deeds: &[Deed]) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Put(number, value) => match entries.iter_mut().find(|(there, _)| *there == key(*number)) {
                Some((_, there)) => there.clone_from(value),
                None => entries.push((key(*number), value.clone())),
            },
            Deed::Take(number) => entries.retain(|(there, _)| *there != key(*number)),
        }
    }
    entries
}

fn queue_of(deeds: &[Deed]) -> Vec<String> {
    let mut items = VecDeque::new();
    for deed in deeds {
        match deed {
            Deed::Put(_, value) => items.push_back(value.clone()),
            Deed::Take(_) => drop(items.pop_front()),
        }
    }
    items.into()
}

fn read_map(bytes: &[u8]) -> Vec<(String, String)> {
    Map::read(bytes).entries.iter().map(|entry| (entry.key.to_owned(), entry.value.to_owned())).collect()
}

fn read_queue(bytes: &[u8]) -> Vec<String> {
    Queue::read(bytes).items.iter().map(|item| item.value.to_owned()).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (map, queue) = (Map::read(&bytes), Queue::read(&bytes));
        for damage in map.damage.iter().chain(&queue.damage) {
            prop_assert!(damage.bytes > 0 && damage.offset < bytes.len());
        }
    }

    /// Small numbers are what leads furthest.
    #[test]
    fn numbers_that_may_be_lengths_are_read_without_a_panic(
        words in proptest::collection::vec(prop_oneof![0..4_u32, 0..200_u32, any::<u32>()], 0..100),
        cut in 0..4_usize,
    ) {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(bytes.len().saturating_sub(cut));
        // Each of them takes at least its numbers.
        prop_assert!(Map::read(&bytes).entries.len() * 12 <= bytes.len());
        prop_assert!(Queue::read(&bytes).items.len() * 8 <= bytes.len());
    }

    #[test]
    fn what_was_written_is_read_back(deeds in deeds()) {
        let map = file(&written(&deeds, true));
        prop_assert_eq!(read_map(&map), map_of(&deeds));
        prop_assert_eq!(Map::read(&map).damage, []);
        let queue = Queue::read(&file(&written(&deeds, false))).perhaps_gone;
        prop_assert_eq!((read_queue(&file(&written(&deeds, false))), queue), (queue_of(&deeds), 0));
    }

    /// A damaged operation is passed over or read as another, which nobody can tell; the others are as they were.
    #[test]
    fn damage_in_one_operation_of_a_map_costs_no_other(deeds in deeds(), which: prop::sample::Index, flip in any::<(prop::sample::Index, u8)>()) {
        prop_assume!(!deeds.is_empty() && flip.1 != 0);
        let mut pieces = written(&deeds, true);
        let hit = which.index(deeds.len());
        let at = flip.0.index(pieces[hit].len());
        pieces[hit][at] ^= flip.1;
        let found = read_map(&file(&pieces));
        // Whatever became of the one, every key that it does not concern has what the others say.
        let (Deed::Put(number, _) | Deed::Take(number)) = &deeds[hit];
        let expected = map_of(&deeds);
        for (there, value) in expected.iter().filter(|(there, _)| *there != key(*number)) {
            prop_assert!(found.iter().any(|one| (&one.0, &one.1) == (there, value)), "{there} is lost: {found:?}");
        }
    }

    /// Items may come again, and none is lost but the one that is damaged.
    #[test]
    fn damage_in_one_operation_of_a_queue_loses_no_other_item(deeds in deeds(), which: prop::sample::Index, flip in any::<(prop::sample::Index, u8)>()) {
        prop_assume!(!deeds.is_empty() && flip.1 != 0);
        let mut named: Vec<Deed> = deeds.clone();
        for (number, deed) in named.iter_mut().enumerate() {
            if let Deed::Put(_, value) = deed {
                *value = format!("{{\"number\":{number},\"text\":{value}}}");
            }
        }
        let mut pieces = written(&named, false);
        let hit = which.index(named.len());
        let at = flip.0.index(pieces[hit].len());
        pieces[hit][at] ^= flip.1;
        let bytes = file(&pieces);
        let (found, own) = (read_queue(&bytes), if let Deed::Put(_, value) = &named[hit] { value.as_str() } else { "" });
        for item in queue_of(&named).iter().filter(|item| *item != own) {
            prop_assert!(found.contains(item), "{item} is lost: {found:?}");
        }
        let is_known = |item: &String| named.iter().any(|deed| matches!(deed, Deed::Put(_, value) if value == item));
        let again = found.iter().filter(|item| is_known(item) && !queue_of(&named).contains(item) && *item != own).count();
        // The last one, if it is zeros, was as good as never written.
        let is_seen = hit + 1 < named.len() || pieces[hit].iter().any(|byte| *byte != 0);
        prop_assert!(again <= Queue::read(&bytes).perhaps_gone || !is_seen, "{again} come again, and it is not said");
    }

    #[test]
    fn a_file_that_ends_anywhere_has_what_was_whole_by_then(deeds in deeds(), cut: prop::sample::Index) {
        let pieces = written(&deeds, true);
        let bytes = pieces.concat();
        prop_assume!(!bytes.is_empty());
        let cut = cut.index(bytes.len());
        let (mut whole, mut end) = (0, 0);
        while end + pieces[whole].len() <= cut {
            end += pieces[whole].len();
            whole += 1;
        }
        // Where the file was made longer first, zeros stand for the rest.
        let mut zeros = bytes[..cut].to_vec();
        zeros.resize(bytes.len() + 100, 0);
        for bytes in [&bytes[..cut], &zeros] {
            let found = read_map(bytes);
            // Of the operation that was cut, all but its padding may have arrived.
            prop_assert!(found == map_of(&deeds[..whole]) || found == map_of(&deeds[..=whole]), "{found:?}");
        }
    }
}

#[test]
fn zeros_in_the_middle_are_named_and_what_comes_behind_them_is_read() {
    let deeds = [Deed::Put(1, "1".into()), Deed::Put(2, "2".into()), Deed::Put(3, "3".into())];
    let mut pieces = written(&deeds, true);
    let (first, length) = (pieces[0].len(), pieces[1].len());
    pieces[1].fill(0);
    let bytes = file(&pieces);
    let map = Map::read(&bytes);
    assert_eq!(read_map(&bytes), [(key(1), "1".to_owned()), (key(3), "3".to_owned())]);
    assert_eq!((map.damage[0].offset, map.damage[0].bytes), (first, length));
    assert_eq!(
        map.damage[0].to_string(),
        format!("offset {first}: there are zeros with something behind them; {length} bytes are passed over")
    );
}

#[test]
fn a_long_file_of_nothing_that_makes_sense_is_read_in_the_time_of_its_length() {
    // Each number might be the beginning of an item that reaches to the end, or of a row of dequeues with no end.
    for numbers in [[1_u32, 0x00ff_ffff], [2, 2], [1, 1 << 20], [0x2020_2020, 1]] {
        let mut bytes: Vec<u8> =
            numbers.iter().flat_map(|number| number.to_be_bytes()).cycle().take(1 << 20).collect();
        bytes.extend_from_slice(&[0xff; 8]);
        let bytes = [&[9, 9, 9, 9], &bytes[..]].concat();
        assert!(Queue::read(&bytes).items.is_empty() && Map::read(&bytes).entries.is_empty());
    }
}
