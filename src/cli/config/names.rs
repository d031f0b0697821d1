//! Which setting was meant by a name that is none.

use super::key::{KEYS, Key, PREFIX};

/// From here on a name is like another one: of 1 for the same, down to 0.
const ALIKE: f64 = 0.8;

/// The setting whose name is nearest, if it is near.
pub fn nearest(name: &str) -> Option<&'static Key> {
    let name = name.to_lowercase().replace('-', "_");
    let name = name.strip_prefix(&PREFIX.to_lowercase()).unwrap_or(&name);
    let likeness = |key: &'static Key| (key, likeness(name, key.name));
    let nearest = KEYS.iter().map(likeness).max_by(|(_, a), (_, b)| a.total_cmp(b));
    nearest.filter(|(_, likeness)| *likeness >= ALIKE).map(|(key, _)| key)
}

fn likeness(name: &str, key: &str) -> f64 {
    // A word of it, as in data_dir, or two letters in the wrong order, which is much of a short name.
    let is_near = name.split('_').any(|word| word == key) || strsim::osa_distance(name, key) == 1;
    strsim::jaro_winkler(name, key).max(if is_near { ALIKE } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_known_for_what_was_meant() {
        let meant = |name| nearest(name).map(|key| key.name);
        for (name, key) in [
            ("dri", "dir"),
            ("directory", "dir"),
            ("data_dir", "dir"),
            ("bnid", "bind"),
            ("bind_address", "bind"),
            ("advertize", "advertise"),
            ("Name", "name"),
            ("nmae", "name"),
            ("segment-bytes", "segment_bytes"),
            ("segments_bytes", "segment_bytes"),
            ("inbox", "inbox_bytes"),
            ("RESOLUTE_DIRECTORY", "dir"),
        ] {
            assert_eq!(meant(name), Some(key), "{name}");
        }
    }

    /// Those that the tests of the project use, and what others put into an environment of their own accord, such as whoever
    /// runs a service of that name.
    #[test]
    fn what_is_like_no_setting_is_none() {
        for name in [
            "SEED",
            "IO_FAULTS",
            "IO_FAULT",
            "REWRITE_GOLDEN",
            "POWER_CUTS",
            "POWER_CUT_MOUNT",
            "CRASH_IMAGES",
            "EVERY_BIT",
            "HOSTILE_FRAMES",
            "SIMULATE",
            "SIMULATE_MINUTES",
            "TEST_ALONE",
            "TORTURE_NODE",
            "KILL_ROLE",
            "KILL_PORT",
            "KILL_PEER",
            "KILL_LIFE",
            "PORT",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "PORT_7450_TCP",
            "PORT_7450_TCP_ADDR",
            "PORT_7450_TCP_PROTO",
            "VERSION",
            "HOME",
        ] {
            assert_eq!(nearest(&format!("{PREFIX}{name}")).map(|key| key.name), None, "{name}");
        }
    }
}
