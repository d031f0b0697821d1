//! What the files of a demo say, when it is over.

use std::collections::BTreeSet;
use std::path::Path;

use super::email::Welcome;
use super::lines::{Follower, Numbers, number};
use crate::cli::exit::{Exit, Failure};
use crate::ids::MessageId;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub published: u64,
    pub handled: u64,
    pub lost: u64,
    pub republished: u64,
    pub redelivered: u64,
}

impl Evidence {
    /// Counts all lines of all files.
    pub fn read(base: &Path, messages: u64) -> Result<Evidence, Failure> {
        let failed = |error: std::io::Error| Failure::io("read what the demo has done", &error);
        let mut odd = 0_u64;
        let mut acknowledged = Numbers::up_to(messages);
        Follower::new()
            .follow(&base.join("acknowledged"), &mut |line| match number(line) {
                Some(number) => drop(acknowledged.insert(number)),
                None => odd += 1,
            })
            .map_err(failed)?;
        let (mut sent, mut republished) = (Numbers::up_to(messages), 0);
        Follower::new()
            .follow(&base.join("sent"), &mut |line| match number(line) {
                Some(number) => republished += u64::from(!sent.insert(number)),
                None => odd += 1,
            })
            .map_err(failed)?;
        let (mut handled, mut ids, mut redelivered) = (Numbers::up_to(messages), BTreeSet::new(), 0);
        Follower::new()
            .follow(&base.join("welcomes"), &mut |line| match welcome(line) {
                Some((number, id)) => {
                    handled.insert(number);
                    redelivered += u64::from(!ids.insert(id));
                }
                None => odd += 1,
            })
            .map_err(failed)?;
        if odd > 0 {
            return Err(Failure::new(
                Exit::Failure,
                format!("{odd} lines of the demo's files make no sense"),
            ));
        }
        let lost =
            (1..=messages).filter(|number| acknowledged.contains(*number) && !handled.contains(*number));
        Ok(Evidence {
            published: acknowledged.count(),
            handled: handled.count(),
            lost: lost.count() as u64,
            republished,
            redelivered,
        })
    }
}

/// The number and the message id of a welcome.
pub fn welcome(line: &[u8]) -> Option<(u64, (u128, u64, u64))> {
    let welcome: Welcome = serde_json::from_slice(line).ok()?;
    let id: MessageId = welcome.id.parse().ok()?;
    Some((welcome.number, (id.node.0, id.incarnation.0, id.lsn.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome_line(number: u64, lsn: u64) -> String {
        let id = format!("{:032x}-{:016x}-{lsn}", 1, 2);
        format!("{{\"number\":{number},\"id\":\"{id}\",\"to\":\"\",\"text\":\"\"}}\n")
    }

    #[test]
    fn each_count_is_what_its_words_say() {
        let base = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(base.path().join(name), text).unwrap();
        write("sent", "1\n2\n3\n3\n4\n");
        write("acknowledged", "1\n2\n3\n3\n");
        // 1 was handled twice as one message, 3 once as each of two, 4 without its receipt, 2 never.
        let lines = [(1, 10), (1, 10), (3, 12), (3, 13), (4, 14)];
        write("welcomes", &lines.map(|(number, lsn)| welcome_line(number, lsn)).concat());
        let evidence = Evidence::read(base.path(), 4).unwrap();
        let expected = Evidence { published: 3, handled: 3, lost: 1, republished: 1, redelivered: 1 };
        assert_eq!(evidence, expected);
        write("sent", "1\nx\n");
        assert!(Evidence::read(base.path(), 4).is_err());
    }
}
